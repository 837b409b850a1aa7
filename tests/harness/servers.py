"""Servers of Debian with generated configs: nginx (backend, or the proxy that is compared), Apache, php-fpm."""
import glob
import json
import os
import shutil
import textwrap

from . import fcgi, netns
from .process import Process
from .proxy import free_port
from .wait import until


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
    def __init__(self, directory, backend, host=netns.HERE, address="127.0.0.1", port=None, threads=1, more="", use=""):
        """One frontend, one server, connections pooled as far as it goes. Bodies are awaited before they are passed on. more: other
        sections; use: lines of the proxy."""
        port = port or free_port()
        folder = _folder(directory, f"haproxy-{port}")
        conf = f"""
            global
              nbthread {threads}
            defaults
              mode http
              option http-buffer-request
              http-reuse always
              timeout connect 5s
              timeout client 10s
              timeout server 10s
              timeout http-request 10s
            {more}
            listen app
              bind {address}:{port}
              {use}
              server app {backend}
            """
        path = _write(os.path.join(folder, "haproxy.conf"), textwrap.dedent(conf))
        super().__init__([_binary("haproxy", "haproxy"), "-db", "-f", path], folder, "haproxy", port, host, address)


class PhpFpm(Process):
    """php-fpm of Debian with one pool on a Unix socket (or on loopback with port=...). settings: more lines of the pool."""

    def __init__(self, directory, children=8, pm="static", settings="", backlog=None, port=None, max_requests=0, name="php-fpm"):
        folder = _folder(directory, f"{name}-{free_port()}")
        self.folder, self.path, self.port = folder, os.path.join(folder, "fpm.sock"), port
        self.text = f"127.0.0.1:{port}" if port else f"unix:{self.path}"
        dynamic = "" if pm == "static" else "pm.start_servers = 2\npm.min_spare_servers = 1\npm.max_spare_servers = 4\n"
        conf = f"""
            [global]
            daemonize = no
            error_log = {folder}/error.log
            log_level = notice
            process_control_timeout = 10s
            [www]
            user = root
            group = root
            listen = {f"127.0.0.1:{port}" if port else self.path}
            {f"listen.backlog = {backlog}" if backlog else ""}
            listen.mode = 0666
            pm = {pm}
            pm.max_children = {children}
            pm.max_requests = {max_requests}
            pm.status_path = /fpm-status
            ping.path = /fpm-ping
            catch_workers_output = no
            """
        conf = textwrap.dedent(conf) + dynamic + textwrap.dedent(settings)
        path = _write(os.path.join(folder, "fpm.conf"), conf)
        ini = _write(os.path.join(folder, "php.ini"), "log_errors = on\nerror_reporting = E_ALL\ndisplay_errors = off\n"
                     f"upload_max_filesize = 1G\npost_max_size = 1G\nmemory_limit = 512M\nopcache.enable = 1\nsys_temp_dir = {folder}\n")
        super().__init__([_fpm(), "--nodaemonize", "--allow-to-run-as-root", "-y", path, "-c", ini], folder, name)

        def up():
            assert self.alive(), f"php-fpm ended:\n{self.log()[-2000:]}{self.errors()[-2000:]}"
            return self.host.listens(port) if port else os.path.exists(self.path)
        until(up, 20, "php-fpm to listen")

    def errors(self):
        try:
            with open(os.path.join(self.folder, "error.log"), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def children(self):
        """Process ids of its workers."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as f:
            return [int(n) for n in f.read().split()]

    def status(self):
        """The pool's status page as a dict, asked over a connection of its own."""
        return json.loads(fcgi.get(("127.0.0.1", self.port) if self.port else self.path, "/fpm-status", "json").body)


def _fpm():
    found = sorted(glob.glob("/usr/sbin/php-fpm*"))
    assert found, "php-fpm is missing: apt-get install php-fpm (tests/run.sh does it)"
    return found[-1]


def nginx_fastcgi(directory, fpm, root, keepalive=None, workers=2, **more):
    """nginx in front of php-fpm as people configure it."""
    keep = f"keepalive {keepalive};" if keepalive else ""
    http = f"upstream php {{ server {fpm.text}; {keep} }}"
    server = f"""root {root}; index index.php;
        location / {{ try_files $uri $uri/ /index.php?$args; }}
        location ~ \\.php$ {{ fastcgi_pass php; fastcgi_keep_conn {"on" if keepalive else "off"};
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; fastcgi_next_upstream off; include /etc/nginx/fastcgi_params; }}"""
    return Nginx(directory, server.replace("\\\\", "\\"), http, workers=workers, name="nginx-fastcgi", **more)


def haproxy_fastcgi(directory, fpm, root, maxconn=None, threads=2):
    """HAProxy in front of php-fpm as its manual shows it, connections kept; maxconn: at most so many, the rest waits."""
    app = f"fcgi-app php\n docroot {root}\n index index.php\n path-info ^(/.+\\.php)(/.*)?$\n option keep-conn"
    return Haproxy(directory, fpm.text.replace("unix:", "unix@") + " proto fcgi" + (f" maxconn {maxconn} pool-max-conn {maxconn}" if maxconn else ""),
                   threads=threads, more=app, use="use-fcgi-app php\n timeout queue 60s\n timeout server 60s\n maxconn 4000")


class ApachePhp(Server):
    """Apache with mod_php, which wants one request per process at a time: children are its whole capacity."""

    def __init__(self, directory, files, children=4, keepalive_timeout=5):
        port = free_port()
        folder = _folder(directory, f"apache-php-{port}")
        modules = "/usr/lib/apache2/modules"
        php = sorted(glob.glob(f"{modules}/libphp*.so"))
        assert php, "mod_php is missing: apt-get install libapache2-mod-php (tests/run.sh does it)"
        conf = f"""
            ServerRoot {folder}
            ServerName test
            PidFile {folder}/pid
            ErrorLog {folder}/error.log
            Listen 127.0.0.1:{port}
            LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so
            LoadModule authz_core_module {modules}/mod_authz_core.so
            LoadModule mime_module {modules}/mod_mime.so
            LoadModule php_module {php[-1]}
            TypesConfig /etc/mime.types
            User www-data
            Group www-data
            StartServers {children}
            MinSpareServers {children}
            MaxSpareServers {children}
            ServerLimit {children}
            MaxRequestWorkers {children}
            KeepAlive On
            KeepAliveTimeout {keepalive_timeout}
            MaxKeepAliveRequests 0
            DocumentRoot {files}
            <FilesMatch \\.php$>
              SetHandler application/x-httpd-php
            </FilesMatch>
            <Directory {files}>
              Require all granted
            </Directory>
            """
        path = _write(os.path.join(folder, "apache.conf"), textwrap.dedent(conf))
        super().__init__([_binary("apache2", "apache2-bin"), "-DFOREGROUND", "-f", path], folder, "apache-php", port, netns.HERE)
