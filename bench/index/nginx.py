"""nginx beside the index, in the same run: as a server of static files, and as a caching proxy. One worker each."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.index import running
from bench.world import free_port

_CONFIG = """
worker_processes 1;
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    open_file_cache max=1000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=packages:10m max_size=10g;
    upstream index {{
        server 127.0.0.1:{upstream};
        keepalive 64;
    }}
    server {{
        listen 127.0.0.1:{static};
        root {root};
    }}
    server {{
        listen 127.0.0.1:{proxy};
        location / {{
            tcp_nopush off;  # on, it lets answers of some 100 kB from its cache wait for 40 ms
            proxy_pass http://index;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache packages;
            proxy_cache_lock on;
            proxy_cache_valid 200 1h;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    static: int  # ports
    proxy: int
    process: psutil.Process


@contextmanager
def nginx(folder: Path, root: Path, upstream: int) -> Iterator[Nginx | None]:
    """None where it is not installed. `upstream`: the port of what it is a proxy for."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        yield None
        return
    folder.mkdir()
    folder.chmod(0o755)
    static, proxy = free_port(), free_port()
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, root=root, static=static, proxy=proxy, upstream=upstream))
    command = [found, "-c", str(config), "-p", str(folder), "-g", _user()]
    with running.program(command, os.environ) as process:
        for port in (static, proxy):
            running.wait_for(port)
        yield Nginx(static, proxy, process)


def _user() -> str:
    """Started by root it would serve as a user who cannot read the benchmark's files."""
    return "user root;" if os.geteuid() == 0 else ""
