"""nginx beside the index, in the same run: as a server of static files, and as a caching proxy. One worker each."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    server {{
        listen 127.0.0.1:{static};
        root {root};
    }}
    server {{
        listen 127.0.0.1:{proxy};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_cache packages;
            proxy_cache_lock on;
            proxy_cache_valid 200 1h;
        }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, root: Path, upstream: int) -> Iterator[tuple[int, int, int] | None]:
    """Both ports and the process's number; None where it is not installed."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        yield None
        return
    folder.mkdir()
    folder.chmod(0o755)
    static, proxy = free_port(), free_port()
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, root=root, static=static, proxy=proxy, upstream=upstream))
    process = subprocess.Popen([found, "-c", str(config), "-p", str(folder), "-g", _user()])
    try:
        yield static, proxy, process.pid
    finally:
        process.terminate()
        process.wait()


def _user() -> str:
    """Started by root it would serve as a user who cannot read the benchmark's files."""
    return "user root;" if os.geteuid() == 0 else ""
