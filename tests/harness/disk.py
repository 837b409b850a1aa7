"""A disk that is soon full: a tmpfs of its own."""
import subprocess


class Disk:
    def __init__(self, path, size):
        self.path = path
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", path], check=True)

    def resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", self.path], check=True)

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=True)
