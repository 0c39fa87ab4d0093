// What hides from who reads it.

rule decoded_and_run {
    meta:
        description = "It decodes data and runs it in one expression."
        ability = "execute"
        threat = "high"
    strings:
        $python = /\b(exec|eval)\s*\(\s*(compile\s*\(\s*)?(zlib|lzma|bz2|gzip|base64|codecs|binascii|marshal|bytes\.fromhex|b64decode|bytearray\.fromhex|__import__\(\s*["'](base64|zlib|marshal|codecs|lzma|bz2)["']\s*\))/
        $lambda = /\(\s*lambda\s+\w+\s*:\s*(__import__\(|zlib|base64|marshal)[^\n]{0,200}\[::-1\]/
        $marshal = /\bexec\s*\(\s*marshal\.loads\(/
        $node = /\beval\s*\(\s*(Buffer\.from\([^\n]{3,}["'](base64|hex)["']|atob\(|unescape\()/
        $function = /new Function\s*\(\s*(Buffer\.from\(|atob\()/
        $require = /require\(\s*["']vm["']\s*\)\.runIn\w+\(\s*(Buffer\.from|atob)/
    condition:
        any of them
}

rule long_encoded_run {
    meta:
        description = "It has a long encoded text, and runs what it decodes."
        ability = "execute"
        threat = "high"
    strings:
        $blob = /["'`][A-Za-z0-9+\/]{1500,}={0,2}["'`]/
        $hex = /["'`](\\x[0-9a-fA-F]{2}){300,}/
        // A method of that name is another: of a regular expression, mostly.
        $run = /[^\w.](exec|eval)\s*\(/
        $decode = /(b64decode|a85decode|b85decode|fromhex|unhexlify|zlib\.decompress|marshal\.loads|atob\(|["']base64["']\))/
    condition:
        any of ($blob, $hex) and $run and $decode
}

rule behind_blanks {
    meta:
        description = "Its code stands far to the right, behind blanks, where no editor shows it."
        ability = "content"
        threat = "critical"
    strings:
        $far = /[^\s#][^\n]{0,200}[ \t]{120,}[;,]?\s{0,4}(import |exec|eval|__import__|from |subprocess|os\.|require\(|global\[|child_process)/
    condition:
        $far
}

rule obfuscator_python {
    meta:
        description = "It was made unreadable by a tool for that."
        ability = "execute"
        threat = "high"
    strings:
        $pyarmor = /from pyarmor_runtime(_\d+)? import __pyarmor__|__pyarmor__\(__name__, __file__/
        $blank = /BlankOBF|_____=eval\("getattr/
        $kramer = /class Kyrie|Kramer\.__init__|__all__ = \['(_|l|I|\d){8,}/
        $hyperion = /Hyperion|(hyp|saturne)_?obfusc/
        $names = /\b[Il1O0]{12,}\s*=[^\n]{0,300}\b[Il1O0]{12,}\(/
        $chain = /(getattr\(__import__\(|__builtins__\.__dict__\[)[^\n]{0,80}(\[::-1\]|chr\(|b64decode|join\()/
    condition:
        any of them
}

rule obfuscator_javascript {
    meta:
        description = "It was made unreadable by a tool for that."
        ability = "execute"
        threat = "high"
    strings:
        $array = /(var|const|let) _0x[0-9a-f]{4,6}\s*=\s*\[/
        $function = /function _0x[0-9a-f]{4,6}\(/
        $call = /_0x[0-9a-f]{4,6}\(0x[0-9a-f]+\)/
        $shift = /\['push'\]\(_0x[0-9a-f]+\['shift'\]\(\)\)/
    condition:
        ($function and #call > 20) or ($array and #call > 10) or $shift
}

rule turned_around {
    meta:
        description = "It has signs that turn the direction of text around, so that code reads otherwise than it runs."
        ability = "content"
        threat = "medium"
    strings:
        // Around code, as the attack has them; tables of characters have them beside each other.
        $around = /\xE2\x80[\xAD\xAE][ -~]{1,80}\xE2\x81[\xA6-\xA9]/
        $inside = /\xE2\x81[\xA6-\xA8][ -~]{1,80}\xE2\x80[\xAD\xAE]/
    condition:
        any of them
}

rule invisible_code {
    meta:
        description = "It carries data in characters that nobody sees."
        ability = "content"
        threat = "critical"
    strings:
        // Variation selectors and tag characters, many in a row: each carries one byte.
        $selectors = /(\xF3\xA0[\x84-\x87][\x80-\xBF]){20,}/
        $plain = /(\xEF\xB8[\x80-\x8F]){20,}/
        $tags = /(\xF3\xA0[\x80-\x81][\x80-\xBF]){20,}/
    condition:
        any of them
}

rule packed_binary {
    meta:
        description = "It brings machine code that was packed so that nobody can look inside."
        ability = "native"
        threat = "high"
        files = "native"
    strings:
        $upx = "UPX!"
        $told = "$Info: This file is packed with the UPX executable packer"
        $sections = /UPX[01]\x00/
    condition:
        (uint32(0) == 0x464c457f or uint16(0) == 0x5a4d) and ($told or ($upx and ($sections or filesize < 5MB)))
}

rule data_after_picture {
    meta:
        description = "It takes code out of a picture."
        ability = "execute"
        threat = "high"
    strings:
        $image1 = /Image\.open\(/
        $image2 = /["'][\w\/.-]{1,80}\.(png|jpg|jpeg|bmp|gif)["']/
        $bits = /(lsb\.reveal\(|getpixel\(|&\s*1\b[^\n]{0,60}(join|append)|stepic\.decode|steganogan)/
        $behind = /b["']IEND/
        $run = /\b(exec|eval)\s*\(\s*[a-z_]/
        $defined = /\bdef\s+(exec|eval)\s*\(\s*[a-z_]/
    condition:
        any of ($image*) and any of ($bits, $behind) and #run > #defined
}

rule module_made_by_hand {
    meta:
        description = "It makes a module by hand, to run code that is in no file of its own."
        ability = "execute"
        threat = "high"
    strings:
        $made = /new\s*\(?\s*module\.constructor\b/
    condition:
        $made
}
