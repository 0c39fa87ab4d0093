// What thieves read, and where they send it.

rule webhook_for_loot {
    meta:
        description = "It has the address of a chat's webhook or bot, where loot is sent to."
        ability = "network"
        threat = "high"
    strings:
        $discord = /https?:\/\/(canary\.|ptb\.)?discord(app)?\.com\/api\/(v\d+\/)?webhooks\/\d{17,20}\/[\w-]{30,}/ nocase
        $telegram = /api\.telegram\.org\/bot\d{8,10}:[\w-]{30,}/
        $slack = /\bhooks\.slack\.com\/services\/T[A-Z0-9]{8,}\/B[A-Z0-9]{8,}\/\w{20,}/
    condition:
        any of them
}

rule catcher_of_requests {
    meta:
        description = "It names a service that catches requests of anybody, which thieves use as a letter box."
        ability = "network"
        threat = "high"
        in_prose = "low"
    strings:
        $host = /https?:\/\/([\w-]{1,63}\.){0,3}(webhook\.site|pipedream\.net|requestbin\.(com|net)|requestcatcher\.com|oastify\.com|oast\.(fun|live|me|online|pro|site)|interact\.sh|burpcollaborator\.net|beeceptor\.com|dnslog\.cn|ceye\.io|canarytokens\.com)\b/ nocase
        $bare = /["'][\w-]{8,63}\.(oastify\.com|oast\.(fun|live|me|online|pro|site)|interact\.sh|burpcollaborator\.net|dnslog\.cn|ceye\.io)["']/ nocase
    condition:
        any of them
}

rule tunnel_or_drop {
    meta:
        description = "It names a tunnel or a place to leave files without an account."
        ability = "network"
        threat = "medium"
    strings:
        $tunnel = /https?:\/\/([\w-]{1,63}\.){1,3}(ngrok\.io|ngrok-free\.app|trycloudflare\.com|serveo\.net|loca\.lt)\b/ nocase
        $drop = /https?:\/\/([\w-]{1,63}\.)?(transfer\.sh|file\.io|gofile\.io|anonfiles?\.com|0x0\.st|temp\.sh|bashupload\.com|catbox\.moe)\//  nocase
        $paste = /https?:\/\/(pastebin\.com\/raw|rentry\.co\/[\w-]{1,30}\/raw|paste\.ee\/r|hastebin\.com\/raw)/ nocase
    condition:
        any of them
}

rule browser_stores {
    meta:
        description = "It knows where browsers keep passwords and cookies, and how to open them."
        ability = "secrets"
        threat = "critical"
    strings:
        $file1 = "Login Data" fullword
        $file2 = "Local State" fullword
        $file3 = "Web Data" fullword
        $file4 = "logins.json" fullword
        $file5 = "key4.db" fullword
        $browser1 = /Google[\/\\]{1,4}Chrome/ nocase
        $browser2 = /BraveSoftware/ nocase
        $browser3 = /Microsoft[\/\\]{1,4}Edge/ nocase
        $browser4 = /Opera Software/ nocase
        $browser5 = /Mozilla[\/\\]{1,4}Firefox/ nocase
        $open1 = "CryptUnprotectData"
        $open2 = "encrypted_key"
        $open3 = "password_value"
        $open4 = "moz_cookies"
        $open5 = "encryptedPassword"
    condition:
        any of ($file*) and any of ($browser*) and any of ($open*)
}

rule chat_tokens {
    meta:
        description = "It looks for the tokens of Discord's accounts in its local store."
        ability = "secrets"
        threat = "critical"
    strings:
        $store = /Local Storage[\/\\]{1,4}leveldb/ nocase
        $discord = /discord(canary|ptb)?/ nocase
        $token1 = "[\\w-]{24}\\.[\\w-]{6}\\.[\\w-]{27}"
        $token2 = "dQw4w9WgXcQ:"
        $token3 = "mfa\\.[\\w-]{84}"
    condition:
        ($store and $discord) and any of ($token*)
}

rule wallets {
    meta:
        description = "It looks for the wallets of crypto currencies."
        ability = "secrets"
        threat = "high"
    strings:
        $metamask = "nkbihfbeogaeaoehlefnkodbefgpgknn"
        $phantom = "bfnaelmomeimhlpmgjnjophhpkkoljpa"
        $binance = "fhbohimaelbohpjbbldcngcnapndodjp"
        $exodus = /Exodus[\/\\]{1,4}exodus\.wallet/ nocase
        $electrum = /Electrum[\/\\]{1,4}wallets/ nocase
        $atomic = /atomic[\/\\]{1,4}Local Storage/ nocase
        $solana = /\.config\/solana\/id\.json/
        $bitcoin = /[\/\\"']wallet\.dat["']/ nocase
    condition:
        $metamask or $phantom or $binance or 2 of them
}

rule clipboard_swap {
    meta:
        description = "It reads the clipboard, and knows what the addresses of crypto currencies look like."
        ability = "secrets"
        threat = "critical"
    strings:
        $clip1 = "pyperclip"
        $clip2 = "GetClipboardData"
        $clip3 = "navigator.clipboard"
        $clip4 = "clipboard_get"
        $bitcoin = "[13][a-km-zA-HJ-NP-Z1-9]{25,34}"
        $bech = "bc1[a-z0-9]{"
        $ether = "0x[a-fA-F0-9]{40}"
    condition:
        any of ($clip*) and any of ($bitcoin, $bech, $ether)
}

rule ethereum_hook {
    meta:
        description = "It steps between a page and its wallet, and has addresses of its own to pay to."
        ability = "secrets"
        threat = "critical"
    strings:
        $hook1 = "window.ethereum"
        $hook2 = "eth_sendTransaction"
        $hook3 = "solana_signTransaction"
        $fetch = /XMLHttpRequest\.prototype\.(open|send)\s*=/
        $replace = /(levenshtein|newAddress|attackerAddress|replaceAddress)/ nocase
        $address = /["']0x[a-fA-F0-9]{40}["']/
    condition:
        any of ($hook*) and $fetch and ($replace or #address > 5)
}

rule credential_files {
    meta:
        description = "It names several files that hold credentials."
        ability = "secrets"
        threat = "high"
    strings:
        $ssh = /\.ssh[\/\\]{1,2}(id_rsa|id_ed25519|id_ecdsa)/
        $ssh2 = /["']id_(rsa|ed25519|ecdsa)["']/
        $aws = /\.aws[\/\\]{1,2}credentials/
        $gcp = /gcloud[\/\\]{1,2}(application_default_credentials\.json|credentials\.db|access_tokens\.db)/
        $azure = /\.azure[\/\\]{1,2}(accessTokens|msal_token_cache|azureProfile)/
        $kube = /\.kube[\/\\]{1,2}config/
        $docker = /\.docker[\/\\]{1,2}config\.json/
        $npm = /["'~\/\\]\.npmrc["']/
        $pypi = /["'~\/\\]\.pypirc["']/
        $netrc = /["'~\/\\]\.netrc["']/
        $git = /["'~\/\\]\.git-credentials["']/
        $shadow = "/etc/shadow"
        $history = /\.(bash|zsh)_history/
    condition:
        4 of them
}

rule cloud_credentials_of_the_machine {
    meta:
        description = "It asks the cloud for the credentials of the machine that it runs on."
        ability = "secrets"
        threat = "medium"
    strings:
        $aws = /169\.254\.169\.254\/latest\/(meta-data\/iam|api\/token)/
        $ecs = /169\.254\.170\.2\/v2\/credentials/
        $gcp = /metadata\.google\.internal\/computeMetadata\/v1\/instance\/service-accounts/
    condition:
        any of them
}

rule whole_environment_sent {
    meta:
        description = "It sends the whole environment somewhere."
        ability = "secrets"
        threat = "critical"
    strings:
        $python = /(requests|httpx|session|client)\.(post|put|get)\([^\n]{0,200}(data|json|params|content)\s*=\s*[^\n]{0,60}(dict\()?os\.environ(\.copy\(\)|\.items\(\)|\))/
        $urllib = /urlopen\([^\n]{0,200}os\.environ(\.copy\(\)|\.items\(\)|\))/
        $node = /JSON\.stringify\(\s*process\.env\s*\)/
        $node_out = /(https?\.request|fetch\(|axios|\.post\()/
    condition:
        $python or $urllib or ($node and $node_out)
}

rule wallet_with_foreign_script {
    meta:
        description = "It brings a script from elsewhere into the page, and asks the page's wallet to pay."
        ability = "secrets"
        threat = "high"
    strings:
        $element = /createElement\(\s*["']script["']\s*\)/
        $source = /["'`]https?:\/\/[^"'`\s]{4,200}\.js["'`?]/
        $pays = "eth_sendTransaction"
    condition:
        all of them
}

rule keylogger {
    meta:
        description = "It listens to the keyboard and sends what it hears."
        ability = "secrets"
        threat = "high"
    strings:
        $listen1 = /from pynput(\.keyboard)? import/
        $listen2 = "keyboard.on_press("
        $listen3 = "GetAsyncKeyState"
        $listen4 = "SetWindowsHookEx"
        $send1 = "smtplib"
        $send2 = /webhook/ nocase
        $send3 = "requests.post("
        $send4 = "ftplib"
    condition:
        any of ($listen*) and any of ($send*)
}
