"""What the functions of Python's library and of well-known packages can do, by their dotted names.

A name with () is of what a call returned: "requests.Session().get". `*` stands for any last part.
"""

import re
from typing import Final

from sandboxes.screening.findings import Ability

_PROCESS: Final = """
os.system os.popen os.popen2 os.popen3 os.popen4 os.startfile os.posix_spawn os.posix_spawnp
os.execl os.execle os.execlp os.execlpe os.execv os.execve os.execvp os.execvpe
os.spawnl os.spawnle os.spawnlp os.spawnlpe os.spawnv os.spawnve os.spawnvp os.spawnvpe
posix.system posix.popen posix.execv posix.execve posix.posix_spawn nt.system nt.startfile
subprocess.Popen subprocess.run subprocess.call subprocess.check_call subprocess.check_output
subprocess.getoutput subprocess.getstatusoutput _posixsubprocess.fork_exec _winapi.CreateProcess
commands.getoutput commands.getstatusoutput popen2.popen2 platform.popen pty.spawn
asyncio.create_subprocess_exec asyncio.create_subprocess_shell asyncio.subprocess.create_subprocess_exec
asyncio.subprocess.create_subprocess_shell pexpect.spawn pexpect.run sh.Command plumbum.local
win32api.ShellExecute win32api.WinExec win32process.CreateProcess
distutils.spawn.spawn setuptools.distutils.spawn.spawn
ctypes.windll.shell32.ShellExecuteW ctypes.windll.shell32.ShellExecuteA ctypes.windll.kernel32.WinExec
ctypes.CDLL().system ctypes.cdll.msvcrt.system
IPython.get_ipython().system pip.main pip._internal.main pip._internal.cli.main.main
"""
_NETWORK: Final = """
socket.socket().connect socket.socket().connect_ex socket.socket().sendto socket.create_connection
socket.gethostbyname socket.gethostbyname_ex socket.getaddrinfo
ssl.wrap_socket().connect ssl.create_default_context().wrap_socket().connect ssl.SSLContext().wrap_socket().connect
urllib.request.urlopen urllib.request.urlretrieve urllib.request.build_opener().open
urllib.request.URLopener().open urllib.request.URLopener().retrieve urllib.request.FancyURLopener().open
urllib.urlopen urllib.urlretrieve urllib2.urlopen urllib2.build_opener().open
http.client.HTTPConnection().request http.client.HTTPSConnection().request http.client.HTTPConnection().connect
http.client.HTTPSConnection().connect http.client.HTTPSConnection().putrequest
httplib.HTTPConnection().request httplib.HTTPSConnection().request
requests.get requests.post requests.put requests.patch requests.head requests.request requests.delete
requests.Session().get requests.Session().post requests.Session().put requests.Session().request
requests.session().get requests.session().post requests.session().put requests.session().request
requests.api.get requests.api.post requests.sessions.Session().get requests.sessions.Session().post
httpx.get httpx.post httpx.put httpx.request httpx.stream httpx.Client().get httpx.Client().post
httpx.Client().request httpx.AsyncClient().get httpx.AsyncClient().post
aiohttp.ClientSession().get aiohttp.ClientSession().post aiohttp.ClientSession().request aiohttp.request
urllib3.PoolManager().request urllib3.PoolManager().urlopen urllib3.request urllib3.ProxyManager().request
ftplib.FTP ftplib.FTP_TLS ftplib.FTP().connect smtplib.SMTP smtplib.SMTP_SSL telnetlib.Telnet
paramiko.SSHClient().connect paramiko.Transport asyncio.open_connection
websocket.create_connection websocket.WebSocket().connect websockets.connect websockets.sync.client.connect
dns.resolver.query dns.resolver.resolve xmlrpc.client.ServerProxy xmlrpclib.ServerProxy
pycurl.Curl().perform wget.download urllib.request.Request().open poplib.POP3 imaplib.IMAP4
torch.hub.load torch.hub.download_url_to_file telegram.Bot discord.Webhook.from_url
_socket.socket().connect
"""
# Runs what it is given.
_EXECUTE: Final = """
exec eval execfile builtins.exec builtins.eval builtins.compile compile
types.FunctionType types.CodeType new.code runpy.run_path
code.InteractiveInterpreter().runsource code.InteractiveInterpreter().runcode code.InteractiveConsole().push
importlib._bootstrap_external.SourceFileLoader importlib.machinery.SourceFileLoader().load_module
importlib.machinery.SourceFileLoader().exec_module importlib.machinery.SourcelessFileLoader().load_module
importlib.util.spec_from_file_location().loader.exec_module
importlib.util.module_from_spec().__spec__.loader.exec_module imp.load_source imp.load_dynamic imp.load_compiled
importlib.machinery.ExtensionFileLoader().load_module importlib.machinery.SourceFileLoader().get_code
timeit.timeit timeit.Timer().timeit timeit.repeat cProfile.run profile.run trace.Trace().run bdb.Bdb().run
doctest.run_docstring_examples pdb.run
"""
# Turns bytes into objects or code; running is one step away.
_LOADS: Final = """
marshal.loads marshal.load pickle.loads pickle.load _pickle.loads cPickle.loads cPickle.load
dill.loads dill.load cloudpickle.loads cloudpickle.load jsonpickle.decode shelve.open joblib.load
pickle.Unpickler().load
"""
_LIBRARY: Final = """
ctypes.CDLL ctypes.PyDLL ctypes.WinDLL ctypes.OleDLL ctypes.cdll.LoadLibrary ctypes.windll.LoadLibrary
ctypes.util.find_library cffi.FFI().dlopen ctypes.pydll.LoadLibrary
"""
_SHELLCODE: Final = """
ctypes.windll.kernel32.VirtualAlloc ctypes.windll.kernel32.CreateThread ctypes.windll.kernel32.RtlMoveMemory
ctypes.windll.kernel32.VirtualAllocEx ctypes.windll.kernel32.WriteProcessMemory
ctypes.windll.kernel32.CreateRemoteThread ctypes.windll.kernel32.VirtualProtect
ctypes.WinDLL().VirtualAlloc ctypes.WinDLL().CreateThread ctypes.WinDLL().RtlMoveMemory
ctypes.CDLL().mprotect ctypes.CDLL().memfd_create ctypes.WinDLL().VirtualProtect os.memfd_create
"""
_HOST: Final = """
socket.gethostname socket.getfqdn platform.node os.uname getpass.getuser os.getlogin platform.uname
pwd.getpwuid uuid.getnode
"""
_SECRETS: Final = """
keyring.get_password win32crypt.CryptUnprotectData browser_cookie3.load browser_cookie3.chrome
browser_cookie3.firefox browser_cookie3.edge ctypes.windll.crypt32.CryptUnprotectData secretstorage.get_all_items
PIL.ImageGrab.grab pyautogui.screenshot pyperclip.paste ImageGrab.grab mss.mss().shot pynput.keyboard.Listener
"""
# Writes of a file; the first argument, or what the name belongs to, says which.
_WRITES: Final = """
open().write open().writelines codecs.open().write
pathlib.Path().write_text pathlib.Path().write_bytes shutil.copy shutil.copyfile shutil.copy2 shutil.move
os.rename os.replace os.symlink os.link
"""
_DESTROYS: Final = "shutil.rmtree os.remove os.unlink os.rmdir os.removedirs"
_REGISTRY: Final = "winreg.SetValueEx winreg.SetValue _winreg.SetValueEx winreg.CreateKey winreg.CreateKeyEx"


def _table() -> dict[str, tuple[Ability, str]]:
    rows: dict[str, tuple[Ability, str]] = {}
    for listed, ability, kind in (
        (_PROCESS, Ability.PROCESS, "process"),
        (_NETWORK, Ability.NETWORK, "network"),
        (_EXECUTE, Ability.EXECUTE, "execute"),
        (_LOADS, Ability.EXECUTE, "load"),
        (_LIBRARY, Ability.NATIVE, "library"),
        (_SHELLCODE, Ability.NATIVE, "shellcode"),
        (_SECRETS, Ability.SECRETS, "secrets"),
        (_WRITES, Ability.FILES, "write"),
        (_DESTROYS, Ability.FILES, "destroy"),
        (_REGISTRY, Ability.FILES, "registry"),
    ):
        rows.update(dict.fromkeys(listed.split(), (ability, kind)))
    return rows


POWERS: Final = _table()
HOST_NAMES: Final = frozenset(_HOST.split())
# Given a function, these call it: at once, soon, or when the process ends.
_CALLERS: Final = """
threading.Thread threading.Timer _thread.start_new_thread thread.start_new_thread atexit.register
multiprocessing.Process concurrent.futures.ThreadPoolExecutor().submit
concurrent.futures.ProcessPoolExecutor().submit concurrent.futures.ThreadPoolExecutor().map
asyncio.run asyncio.ensure_future asyncio.create_task asyncio.get_event_loop().run_until_complete
asyncio.new_event_loop().run_until_complete asyncio.get_event_loop().create_task map filter sorted list
functools.reduce functools.partial signal.signal sys.settrace sys.setprofile weakref.finalize sys.addaudithook
"""
CALLERS: Final = frozenset(_CALLERS.split())

# Files that hold credentials, by the family they belong to. Read on slashes, lower case.
PLACES: Final[dict[str, re.Pattern[str]]] = {
    "ssh": re.compile(r"\.ssh(?:/|$)|\bid_(?:rsa|dsa|ecdsa|ed25519)\b(?!\.pub)"),
    "cloud": re.compile(
        r"\.aws/|\.aws$|\.azure/|gcloud/|application_default_credentials|\.oci/config|\.config/doctl"
        r"|169\.254\.169\.254|169\.254\.170\.2|metadata\.google\.internal|100\.100\.100\.200"
    ),
    "kubernetes": re.compile(r"\.kube(?:/config)?$|\.kube/|/serviceaccount/token"),
    "docker": re.compile(r"\.docker/config\.json|\.dockercfg|\.dockerconfigjson"),
    "packaging": re.compile(r"\.npmrc$|\.pypirc$|\.gem/credentials|\.cargo/credentials|\.yarnrc"),
    "git": re.compile(r"\.git-credentials|\.config/gh/hosts|\.gitconfig$|\.config/hub"),
    "netrc": re.compile(r"[._]netrc$"),
    "browser": re.compile(
        r"\blogin data\b|\bcookies\.sqlite\b|\bkey4\.db\b|\blogins\.json\b|/local state\b|\blocal state$"
        r"|user data[/\\]+default|\bweb data$|bravesoftware|google[/\\]+chrome[/\\]+user data|opera software"
        r"|yandexbrowser|microsoft[/\\]+edge[/\\]+user data"
    ),
    "wallet": re.compile(
        r"\bwallet\.dat\b|[/\\]exodus\b|[/\\]electrum[/\\]+wallets|nkbihfbeogaeaoehlefnkodbefgpgknn|\bmetamask\b"
        r"|[/\\]atomic[/\\]+local storage|[/\\]ethereum[/\\]+keystore|\.config/solana/id\.json|\bcoinomi\b"
        r"|\bphantom\b.*wallet|\bbfnaelmomeimhlpmgjnjophhpkkoljpa\b"
    ),
    "messenger": re.compile(
        r"discord(?:canary|ptb)?[/\\]+local storage|telegram desktop[/\\]+tdata|\btdata$"
    ),
    "system": re.compile(
        r"^/etc/shadow$|\.bash_history|\.zsh_history|/proc/self/environ|/proc/\d+/environ|\.vault-token"
    ),
}
# Places from which programs start without being called.
START_UP: Final = re.compile(
    r"\.bashrc|\.bash_profile|\.zshrc|\.zprofile|(?:^|/)\.profile$|/etc/profile|\.config/autostart|launchagents"
    r"|launchdaemons|/etc/cron|crontab|/etc/systemd|systemd/user|/etc/init\.d|/etc/rc\.local|start menu.*startup"
    r"|\\startup\b|authorized_keys|\.pth$|sitecustomize\.py|usercustomize\.py|currentversion\\+run|/etc/ld\.so\.preload"
    r"|\.git/hooks|/etc/hosts$|/etc/sudoers|\.vscode/tasks\.json|\.config/fish/config|/etc/passwd"
)
SECRET_NAME: Final = re.compile(
    r"secret|token|passw|credential|api_?key|access_?key|private_?key|_auth\b|mnemonic|session_?id",
    re.IGNORECASE,
)
# Where stolen things are sent: collectors that anybody may have in a minute.
COLLECTORS: Final = re.compile(
    r"discord(?:app)?\.com/api/webhooks/\d{5,}|api\.telegram\.org/bot|webhook\.site|requestbin|pipedream\.net"
    r"|burpcollaborator|interact\.sh|oast(?:ify)?\.(?:com|fun|pro|live|site|online|me)|oastify|canarytokens"
    r"|ngrok(?:-free)?\.(?:io|app)|transfer\.sh|beeceptor\.com|hookb\.in|dnslog\.cn|ceye\.io|requestcatcher"
    r"|file\.io/?\b|gofile\.io|anonfiles|pastebin\.com/raw|rentry\.co|paste\.ee|hastebin|dpaste\.(?:org|com)"
    r"|trycloudflare\.com|serveo\.net|localhost\.run|\.onion\b|grabify|iplogger|replit\.(?:app|dev)|repl\.co",
    re.IGNORECASE,
)
# Lower case; where none of them stands, no collector is named.
COLLECTOR_HINTS: Final = (
    b"/webhooks/", b"webhook.site", b"api.telegram.org/bot", b"requestbin", b"pipedream.net", b"burpcollaborator",
    b"interact.sh", b"oast.", b"oastify", b"canarytokens", b"ngrok", b"transfer.sh", b"beeceptor.com", b"hookb.in",
    b"dnslog.cn", b"ceye.io", b"requestcatcher", b"file.io", b"anonfiles", b"pastebin.com/raw", b"rentry.co",
    b"paste.ee", b"hastebin", b"dpaste.", b"trycloudflare.com", b"serveo.net", b"localhost.run", b".onion", b"grabify",
    b"iplogger", b"replit.", b"repl.co",
)  # fmt: skip
# Commands that fetch or run something foreign.
FOREIGN_COMMAND: Final = re.compile(
    r"\bcurl\b|\bwget\b|powershell|\bpwsh\b|\bcertutil\b|\bbitsadmin\b|\bmshta\b|/dev/tcp/|\bnc\b.*-e|\bncat\b"
    r"|base64\s+(?:-d|--decode)|\bchmod\s+\+?[x7]|\bnohup\b|\bpip3?\s+install\b|-m\s+pip\b|https?://|\bftp://"
    r"|\brm\s+-rf\s+[~/]|\bcrontab\b|\bschtasks\b|reg\s+add\b|\brundll32\b|\bregsvr32\b|\bosascript\b|\bwscript\b"
    r"|\bcscript\b|\bsocat\b|\bmkfifo\b|/bin/(?:ba)?sh\s+-i|-enc(?:odedcommand)?\s|\|\s*(?:ba|z)?sh\b|\bsudo\b",
    re.IGNORECASE,
)
# Commands that look and tell: compilers, versions, hardware.
PLAIN_COMMAND: Final = re.compile(
    r"^\W*(?:/(?:usr/)?s?bin/)?(?:git|hg|svn|bzr|uname|which|where|sysctl|ldconfig|ldd|lscpu|nproc|gcc|g\+\+|cc|clang"
    r"|c\+\+|cmake|make|ninja|pkg-config|xcrun|xcodebuild|sw_vers|java|javac|node|npm|rustc|cargo|go|nvcc|nvidia-smi"
    r"|tput|stty|locale|llvm-config|mysql_config|pg_config|gdal-config|swig|cython|lsb_release|tty|getconf|ps|dpkg"
    r"|rpm|brew|ver|chcp|cls|clear|reset|doxygen|sphinx-build|protoc|msgfmt|patch|file|objdump|otool|arch|getprop"
    r"|system_profiler|defaults|fc-list|gs|latex|pdflatex|kpsewhich|lspci|hostname|whereis|type|command|autoreconf"
    r"|\./configure|sh\s+configure|bash\s+configure|sh\s+autogen)\b",
    re.IGNORECASE,
)


def places_in(text: str) -> list[str]:
    """Families of credential files that a path or text names."""
    lowered = text.lower().replace("\\\\", "/").replace("\\", "/")
    return [family for family, pattern in PLACES.items() if pattern.search(lowered)]
