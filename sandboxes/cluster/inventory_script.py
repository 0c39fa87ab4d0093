"""What is installed where the owner of a workspace can write: run inside the pod, with Python's own modules alone.

Its text is what the admission policy "reach" lets Petridish run there, and nothing else. It prints one line of
JSON and is bounded by time, by files and by names; what it left out it says. Python 3.8 or newer.
"""

import base64
import csv
import hashlib
import json
import os
import sys
import time

ROOTS = ("/workspace", "/tmp")  # noqa: S108 -- the workspace's only other volume
SECONDS, NAMES, FILES, BYTES, TEXT, SHOWN, DEPTH = 45, 5000, 200000, 64 << 20, 4 << 20, 10, 12
CODE = (".py", ".pyc", ".so")
LOOSE = (*CODE, ".pth", ".egg", ".egg-info", ".egg-link")
until = time.monotonic() + SECONDS
state = {"files": 0, "complete": True}
inside: "set[str]" = set()  # .dist-info that are part of another package


def stop():
    late = time.monotonic() > until or state["files"] > FILES
    if late:
        state["complete"] = False
    return late


def text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        found = file.read(TEXT)
        if file.read(1):
            state["complete"] = False
    return found


def metadata(path):
    found = {}
    for line in text(path).splitlines():
        if not line.strip():
            break
        key, colon, value = line.partition(":")
        if colon and key.lower() in ("name", "version"):
            found.setdefault(key.lower(), value.strip()[:200])
    return found


def changed(site, row):
    """Whether a file is not what RECORD says: another, or none."""
    name, digest = row[0], row[1]
    kind, equals, wanted = digest.partition("=")
    if not equals or kind not in ("sha256", "sha384", "sha512"):
        return False
    path = os.path.realpath(os.path.join(site, name))
    if not path.startswith(ROOTS):  # the image's, or no file at all
        return False
    if not os.path.isfile(path) or os.path.getsize(path) > BYTES:
        return not os.path.isfile(path)
    state["files"] += 1
    with open(path, "rb") as file:
        found = hashlib.new(kind, file.read()).digest()
    return base64.urlsafe_b64encode(found).decode().rstrip("=") != wanted


def altered(site, info, named):
    """None: there is no RECORD to go by. `named`: what it names at the top of `site`."""
    try:
        rows = list(csv.reader(text(os.path.join(info, "RECORD")).splitlines()))
    except (OSError, csv.Error):
        return None
    found = []
    for row in filter(None, rows):
        parts = [part for part in row[0].split("/") if part not in ("", ".", "..")]
        named.update(parts[:1])
        if len(parts) > 2 and parts[-2].endswith(".dist-info"):
            inside.add(os.path.join(site, *parts[:-1]))
    for row in rows:
        if stop():
            break
        try:
            if len(row) > 1 and changed(site, row):
                found.append(row[0][:200])
        except (OSError, ValueError):
            found.append(row[0][:200])
    return found


def python(site, name, named):
    info = os.path.join(site, name)
    bad = altered(site, info, named)
    item = metadata(os.path.join(info, "METADATA"))
    return {
        "ecosystem": "pypi",
        "name": item.get("name", name.partition("-")[0]),
        "version": item.get("version", ""),
        "path": info,
        "record": bad is not None,
        "altered": (bad or [])[:SHOWN],
        "altered_count": len(bad or ()),
    }


def loose(path):
    """What Python may load and no RECORD beside it names; of folders only those with code in them."""
    item = {
        "ecosystem": "pypi",
        "name": os.path.basename(path),
        "version": "",
        "path": path,
        "unrecorded": True,
    }
    if path.endswith(LOOSE):
        return item
    for _, _, files in os.walk(path):
        if stop() or any(name.endswith(CODE) for name in files):
            return item
    return None


def npm(folder):
    item = json.loads(text(os.path.join(folder, "package.json")))
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        return None
    version = item.get("version")
    version = version if isinstance(version, str) else ""
    return {"ecosystem": "npm", "name": item["name"][:200], "version": version[:200], "path": folder}


def packages(modules):
    for name in sorted(os.listdir(modules)):
        if name.startswith("@"):
            yield from (
                os.path.join(modules, name, each) for each in sorted(os.listdir(os.path.join(modules, name)))
            )
        elif not name.startswith("."):
            yield os.path.join(modules, name)


def pythons(place, folders, top):
    """Each distribution right here, and what no RECORD of them names."""
    named = {"__pycache__", "node_modules"}
    infos = [
        each for each in folders if each.endswith(".dist-info") and os.path.join(place, each) not in inside
    ]
    for name in infos:
        yield lambda name=name: python(place, name, named)
    if infos or os.path.basename(place) in ("site-packages", "dist-packages"):
        for name in top:  # each RECORD was read by now
            if name not in named and (name.endswith(LOOSE) or name.isidentifier()):
                yield lambda name=name: loose(os.path.join(place, name))


def items():
    for root in ROOTS:
        for place, folders, files in os.walk(root):
            if stop():
                return
            top = sorted(folders + files)
            folders[:] = sorted(each for each in folders if not os.path.islink(os.path.join(place, each)))
            if place.count("/") - root.count("/") > DEPTH:
                state["complete"] = False
                folders[:] = []
            yield from pythons(place, folders, top)
            if os.path.basename(place) == "node_modules":
                for folder in packages(place):
                    if os.path.isfile(os.path.join(folder, "package.json")):
                        yield lambda folder=folder: npm(folder)


def main():
    found, unread = [], 0
    for look in items():
        if len(found) >= NAMES or stop():
            state["complete"] = False
            break
        try:
            item = look()
        except (OSError, ValueError, RecursionError):
            unread += 1
            continue
        if item:
            found.append(item)
    sys.stdout.write(json.dumps({"items": found, "unread": unread, "complete": state["complete"]}) + "\n")


main()
