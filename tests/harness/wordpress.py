"""WordPress and MariaDB of Debian, in a folder of their own: nothing of the system's configuration is read or changed."""
import os
import secrets
import shutil
import subprocess

from .process import Process
from .wait import until

SOURCE = "/usr/share/wordpress"


def _need(path, package):
    assert path and os.path.exists(path), f"{package} is missing: apt-get install {package} (tests/run.sh --full does it)"
    return path


class MariaDb(Process):
    """A server on a Unix socket, with one empty database."""

    def __init__(self, directory, database):
        folder = os.path.join(str(directory), "mariadb")
        self.path = os.path.join(folder, "db.sock")
        os.makedirs(folder)
        data = os.path.join(folder, "data")
        subprocess.run([_need(shutil.which("mariadb-install-db"), "mariadb-server"), "--no-defaults", "--user=root", f"--datadir={data}",
                        "--auth-root-authentication-method=normal", "--skip-test-db"], check=True, capture_output=True, timeout=120)
        server = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
        super().__init__([_need(server, "mariadb-server"), "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={self.path}",
                          f"--pid-file={folder}/pid", "--skip-networking", "--innodb-flush-log-at-trx-commit=2"], folder, "mariadb")
        until(lambda: self.ask("SELECT 1") == "1", 60, "mariadb to answer")
        self.ask(f"CREATE DATABASE {database}")

    def ask(self, sql):
        assert self.alive(), f"mariadb ended:\n{self.log()[-2000:]}"
        done = subprocess.run(["mariadb", "--no-defaults", "-S", self.path, "-u", "root", "-N", "-B", "-e", sql],
                              capture_output=True, text=True, timeout=30)
        return done.stdout.strip() if done.returncode == 0 else None


def wordpress(root, database):
    """Copies WordPress to root, links followed, and configures it. It may ask itself, but nobody outside."""
    _need(os.path.join(SOURCE, "wp-load.php"), "wordpress")
    shutil.copytree(SOURCE, root, symlinks=False, dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("wp-config.php"))
    keys = "".join(f"define('{name}', '{secrets.token_hex(32)}');\n" for name in (
        "AUTH_KEY", "SECURE_AUTH_KEY", "LOGGED_IN_KEY", "NONCE_KEY", "AUTH_SALT", "SECURE_AUTH_SALT", "LOGGED_IN_SALT", "NONCE_SALT"))
    with open(os.path.join(root, "wp-config.php"), "w") as f:
        f.write(f"""<?php
define('DB_NAME', 'wordpress'); define('DB_USER', 'root'); define('DB_PASSWORD', '');
define('DB_HOST', 'localhost:{database.path}'); define('DB_CHARSET', 'utf8mb4'); define('DB_COLLATE', '');
{keys}
define('WP_HTTP_BLOCK_EXTERNAL', true); define('WP_ACCESSIBLE_HOSTS', '127.0.0.1');
define('AUTOMATIC_UPDATER_DISABLED', true); define('FS_METHOD', 'direct');
$table_prefix = 'wp_';
if (!defined('ABSPATH')) define('ABSPATH', __DIR__ . '/');
require_once ABSPATH . 'wp-settings.php';
""")
