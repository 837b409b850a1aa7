"""Servers of Debian with generated configs: nginx (backend, or the proxy that is compared) and Apache."""
import os
import shutil
import textwrap

from . import netns
from .process import Process
from .proxy import free_port


def _binary(name, package):
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    assert path, f"{name} is missing: apt-get install {package} (tests/run.sh does it)"
    return path


class Server(Process):
    def __init__(self, words, directory, name, port, host, address="127.0.0.1", **more):
        super().__init__(words, directory, name, host, **more)
        self.address, self.port = address, port
        self.listening(port)

    @property
    def text(self):
        return f"{self.address}:{self.port}"


def _folder(directory, name):
    path = os.path.join(str(directory), name)
    os.makedirs(path, exist_ok=True)
    os.chmod(path, 0o755)
    return path


def _write(path, text):
    with open(path, "w") as f:
        f.write(text)
    return path


class Nginx(Server):
    def __init__(self, directory, server, http="", host=netns.HERE, address="127.0.0.1", port=None, workers=1, name="nginx",
                 keepalive_timeout="75s", ssl=""):
        """server: what stands in the server block; http: what stands beside it. %(port)s is filled in."""
        port = port or free_port()
        self.folder = _folder(directory, f"{name}-{port}")
        conf = f"""
            daemon off; worker_processes {workers}; pid {self.folder}/pid; error_log {self.folder}/error.log info;
            user root; worker_rlimit_nofile 8192;
            events {{ worker_connections 4000; }}
            http {{
              access_log off; keepalive_requests 1000000000; keepalive_timeout {keepalive_timeout};
              client_body_temp_path {self.folder}/b; proxy_temp_path {self.folder}/p; fastcgi_temp_path {self.folder}/f;
              uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
              {http}
              server {{ listen {address}:{port} backlog=4096{" " + ssl if ssl else ""}; {server} }}
            }}"""
        path = _write(os.path.join(self.folder, "nginx.conf"), textwrap.dedent(conf))
        super().__init__([_binary("nginx", "nginx-light"), "-c", path, "-p", self.folder], self.folder, name, port, host, address)

    def errors(self):
        with open(os.path.join(self.folder, "error.log")) as f:
            return f.read()


def nginx_proxy(directory, backend, keepalive=32, workers=2, **more):
    """nginx as people configure it: a pool of idle connections that says nothing about how many are open."""
    http = f"upstream app {{ server {backend}; keepalive {keepalive}; keepalive_requests 1000000000; }}"
    server = 'location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_next_upstream off; }'
    return Nginx(directory, server, http, workers=workers, name="nginx-proxy", **more)


class Apache(Server):
    def __init__(self, directory, files, host=netns.HERE, address="127.0.0.1", port=None, keepalive_timeout=5):
        port = port or free_port()
        folder = _folder(directory, f"apache-{port}")
        modules = "/usr/lib/apache2/modules"
        conf = f"""
            ServerRoot {folder}
            ServerName test
            PidFile {folder}/pid
            ErrorLog {folder}/error.log
            Listen {address}:{port}
            LoadModule mpm_event_module {modules}/mod_mpm_event.so
            LoadModule authz_core_module {modules}/mod_authz_core.so
            LoadModule dir_module {modules}/mod_dir.so
            LoadModule mime_module {modules}/mod_mime.so
            TypesConfig /etc/mime.types
            User www-data
            Group www-data
            KeepAlive On
            KeepAliveTimeout {keepalive_timeout}
            MaxKeepAliveRequests 0
            DocumentRoot {files}
            <Directory {files}>
              Require all granted
            </Directory>
            """
        path = _write(os.path.join(folder, "apache.conf"), textwrap.dedent(conf))
        super().__init__([_binary("apache2", "apache2-bin"), "-X", "-f", path], folder, "apache", port, host, address)


class Haproxy(Server):
    def __init__(self, directory, backend, host=netns.HERE, address="127.0.0.1", port=None):
        """One frontend, one server, connections pooled as far as it goes. Bodies are awaited before they are passed on."""
        port = port or free_port()
        folder = _folder(directory, f"haproxy-{port}")
        conf = f"""
            global
              nbthread 1
            defaults
              mode http
              option http-buffer-request
              http-reuse always
              timeout connect 5s
              timeout client 10s
              timeout server 10s
              timeout http-request 10s
            listen app
              bind {address}:{port}
              server app {backend}
            """
        path = _write(os.path.join(folder, "haproxy.conf"), textwrap.dedent(conf))
        super().__init__([_binary("haproxy", "haproxy"), "-db", "-f", path], folder, "haproxy", port, host, address)
