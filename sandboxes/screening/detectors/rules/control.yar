// What takes a machine over, or makes it work for somebody else.

rule reverse_shell {
    meta:
        description = "It opens a shell that somebody elsewhere types into."
        ability = "process"
        threat = "critical"
    strings:
        $bash = /bash -i\s*>&?\s*\/dev\/tcp\/[\w.$\{\}-]+\/[\w$\{\}]+/
        $exec = /exec \d+<>\/dev\/tcp\//
        $netcat = /\b(nc|ncat|netcat)(\.exe)? (-[a-z]+ )*-e \/?(bin\/)?(ba)?sh\b/
        $mkfifo = /mkfifo \/tmp\/\w+\s*;[^\n]{0,100}\b(nc|ncat|telnet)\b/
        $dup = /os\.dup2\(\s*\w+\.fileno\(\)\s*,\s*[0-2]\s*\)/
        $spawn = /(pty\.spawn|subprocess\.(call|run|Popen)|os\.(system|execv?p?e?))\(\s*\[?\s*["']\/bin\/(ba)?sh["']/
        $pipe = /\.pipe\(\s*\w+\.stdin\s*\)[^\x00]{0,200}\.stdout\.pipe\(/
        $node = /spawn\(\s*["'](\/bin\/(ba)?sh|cmd(\.exe)?|powershell(\.exe)?)["']/
        $net = /(net\.(connect|createConnection|Socket)\(|new net\.Socket)/
    condition:
        $bash or $exec or $netcat or $mkfifo or ($dup and $spawn) or ($pipe and $node and $net)
}

rule download_and_run {
    meta:
        description = "It hands what it downloads straight to a shell or an interpreter."
        ability = "execute"
        threat = "high"
        in_function = "medium"
        in_prose = "low"
    strings:
        $pipe = /\b(curl|wget)\b[^\n|;"']{0,200}https?:\/\/[^\n|;"']{3,200}\|\s*(sudo )?(\/bin\/)?(ba|z)?sh\b/
        $python = /\b(curl|wget)\b[^\n|;"']{0,200}https?:\/\/[^\n|;"']{3,200}\|\s*python3?\b/
        $chmod = /\b(curl|wget)\b[^\n]{0,300}(&&|;)\s*chmod (\+x|7[0-7]{2})[^\n]{0,200}(&&|;)\s*(\.\/|nohup|\/tmp\/)/
        $call = /(os\.system|os\.popen|subprocess\.\w+|execSync|exec|spawn|spawnSync)\(/
    condition:
        $chmod or (any of ($pipe, $python) and $call)
}

rule powershell_hidden {
    meta:
        description = "It runs PowerShell out of sight, or code that PowerShell downloads."
        ability = "execute"
        threat = "critical"
    strings:
        $shell = /powershell(\.exe)?|pwsh/ nocase
        $encoded = /-(e|ec|enc|encodedcommand)["',\s]{1,5}[A-Za-z0-9+\/=]{60,}/ nocase
        $hidden = /-w(indowstyle)?["',\s]{1,5}hidden/ nocase
        $download = /(DownloadString|DownloadFile|Invoke-WebRequest|Start-BitsTransfer)/ nocase
        $iex = /\b(iex|invoke-expression)\b/ nocase
    condition:
        $shell and ($encoded or ($hidden and ($download or $iex)) or ($download and $iex))
}

rule miner {
    meta:
        description = "It mines a crypto currency, or knows a pool of miners."
        ability = "process"
        threat = "critical"
        files = "any"
    strings:
        $stratum = /stratum\+(tcp|ssl|tls):\/\/[\w.-]{4,100}:\d{2,5}/
        $xmrig = "xmrig" nocase fullword
        $donate = "--donate-level"
        $randomx = "randomx" nocase fullword
        $pool = /(pool\.(supportxmr|minexmr|hashvault)\.\w{2,4}|moneroocean\.stream|nanopool\.org|2miners\.com|connect\.consensus-sg\.\w+)/
    condition:
        ($stratum and any of ($xmrig, $donate, $randomx, $pool)) or ($xmrig and any of ($donate, $pool))
}

rule persistence {
    meta:
        description = "It makes itself start again with the machine or the shell."
        ability = "files"
        threat = "high"
        in_prose = "low"
    strings:
        $run = /Software[\/\\]{1,4}Microsoft[\/\\]{1,4}Windows[\/\\]{1,4}CurrentVersion[\/\\]{1,4}Run\b/ nocase
        $write_run = /(RegSetValueEx|SetValueEx|reg add|New-ItemProperty)/ nocase
        $startup = /Start Menu[\/\\]{1,4}Programs[\/\\]{1,4}Startup/ nocase
        $copy = /(shutil\.copy|copyfile|fs\.copyFile|open\([^\n]{0,100}["']wb?["'])/
        $cron = /(crontab -l[^\n]{0,200}\|\s*crontab|@reboot [^\n]{3,200}|\/etc\/cron\.(d|hourly)\/\w+)/
        $agent = /Library\/LaunchAgents\/[^\n]{1,100}\.plist/
        $systemd = /(\.config|\/etc)\/systemd\/(user|system)\/[\w.-]{1,60}\.service/
        $rc = /(>>|open\([^\n]{0,80})[^\n]{0,40}\.(bashrc|zshrc|bash_profile)["']?[^\n]{0,20}(["']a["'])?/
        $load = /(launchctl load|systemctl (--user )?(enable|start)|LoadAgent)/
    condition:
        ($run and $write_run) or ($startup and $copy) or $cron or (any of ($agent, $systemd) and $load and $copy)
            or ($rc and any of ($cron, $agent, $systemd))
}

rule worm {
    meta:
        description = "It looks for the right to publish packages, and publishes."
        ability = "secrets"
        threat = "critical"
    strings:
        $token = "_authToken"
        $npmrc = ".npmrc"
        $whoami = /\/-\/whoami|npm whoami/
        $own = /maintainer:|\/-\/v1\/search\?text=/
        $publish = /npm publish|["']publish["']/
        $trufflehog = "trufflehog" nocase
        $workflow = /\.github\/workflows\/[\w-]{1,40}\.ya?ml/
        $runner = /SHA1HULUD|shai-hulud|config\.sh --url https:\/\/github\.com/ nocase
    condition:
        (any of ($token, $npmrc) and $publish and any of ($whoami, $own))
            or ($trufflehog and any of ($token, $npmrc, $workflow)) or ($runner and any of ($workflow, $token))
}

rule assistants_turned {
    meta:
        description = "It starts an assistant of the developer with its safeguards off."
        ability = "process"
        threat = "critical"
    strings:
        $skip = "--dangerously-skip-permissions"
        $yolo = /["']--yolo["']/
        $trust = "--trust-all-tools"
        $call = /(spawn|spawnSync|exec|execSync|execFile|subprocess\.\w+|os\.system)\(/
        $loot = /(wallet|keystore|\.env\b|id_rsa|private key|mnemonic)/ nocase
    condition:
        any of ($skip, $yolo, $trust) and $call and $loot
}

rule security_off {
    meta:
        description = "It switches the machine's protection off."
        ability = "process"
        threat = "critical"
    strings:
        $defender1 = "Set-MpPreference" nocase
        $defender2 = "DisableRealtimeMonitoring" nocase
        $exclude = "Add-MpPreference -ExclusionPath" nocase
        $firewall = /netsh (advfirewall|firewall) set [^\n]{0,40}(off|disable)/ nocase
        $selinux = /setenforce 0/
    condition:
        ($defender1 and $defender2) or $exclude or $firewall or $selinux
}

rule wipes {
    meta:
        description = "It deletes, or writes over, all that it can."
        ability = "files"
        threat = "critical"
    strings:
        $rm = /["'`;&|]\s*(sudo )?rm -[rf]{2} (--no-preserve-root )?(\/|~\/?|\$HOME\/?)\*?["'`;\s]/
        $format = /["'`]\s*(format [cC]:|del \/[sfq] \/[sfq][^\n]{0,20}[cC]:\\|rd \/s \/q [cC]:\\)/
        $tree = /shutil\.rmtree\(\s*(["']\/["']|os\.path\.expanduser\(\s*["']~["']\s*\)|Path\.home\(\))\s*[,)]/
        $node = /rmSync\(\s*(["']\/["']|os\.homedir\(\))/
    condition:
        any of them
}

rule by_country {
    meta:
        description = "It asks in which country it runs, and changes files by the answer."
        ability = "files"
        threat = "medium"
    strings:
        $geo = /(api\.ipgeolocation\.io|ip-api\.com\/json|ipinfo\.io\/(json|country)|freegeoip\.app|ipapi\.co)/
        $country = /["'`](russia|belarus|ukraine|iran|israel|china|RU|BY|IR|IL)["'`]/
        $write = /(writeFileSync|writeFile|rmtree|os\.remove|unlinkSync)\(/
    condition:
        all of them
}

rule hides_from_analysis {
    meta:
        description = "It looks for debuggers, virtual machines or sandboxes before it does anything."
        ability = "content"
        threat = "high"
    strings:
        $vm1 = "vboxservice" nocase
        $vm2 = "vmtoolsd" nocase
        $vm3 = "VMwareTray" nocase
        $vm4 = "vmwareuser" nocase
        $tool1 = "wireshark" nocase
        $tool2 = "processhacker" nocase
        $tool3 = "ollydbg" nocase
        $tool4 = "x64dbg" nocase
        $tool5 = "fiddler" nocase
        $debug = "IsDebuggerPresent"
        $user = "WDAGUtilityAccount"
    condition:
        3 of ($vm*, $tool*) or ($user and any of ($vm*, $tool*)) or ($debug and any of ($vm*) and any of ($tool*))
}
