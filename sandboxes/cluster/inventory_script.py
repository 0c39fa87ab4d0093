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
until = time.monotonic() + SECONDS
state = {"files": 0, "complete": True}


def stop():
    late = time.monotonic() > until or state["files"] > FILES
    if late:
        state["complete"] = False
    return late


def text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(TEXT)


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


def altered(site, info):
    """None: there is no RECORD to go by."""
    try:
        rows = list(csv.reader(text(os.path.join(info, "RECORD")).splitlines()))
    except (OSError, csv.Error):
        return None
    found = []
    for row in rows:
        if stop():
            break
        try:
            if len(row) > 1 and changed(site, row):
                found.append(row[0][:200])
        except (OSError, ValueError):
            found.append(row[0][:200])
    return found


def python(site, name):
    info = os.path.join(site, name)
    item = metadata(os.path.join(info, "METADATA"))
    bad = altered(site, info)
    return {
        "ecosystem": "pypi",
        "name": item.get("name", name.partition("-")[0]),
        "version": item.get("version", ""),
        "path": info,
        "record": bad is not None,
        "altered": (bad or [])[:SHOWN],
        "altered_count": len(bad or ()),
    }


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


def items():
    for root in ROOTS:
        for place, folders, _ in os.walk(root):
            if stop():
                return
            folders[:] = sorted(each for each in folders if not os.path.islink(os.path.join(place, each)))
            if place.count("/") - root.count("/") > DEPTH:
                state["complete"] = False
                folders[:] = []
            for name in folders:
                if name.endswith(".dist-info"):
                    yield lambda place=place, name=name: python(place, name)
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
