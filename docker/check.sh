#!/bin/sh
# Checks the container files without a container engine, as root on Debian 12, and says how far that goes.
#
#   sh docker/check.sh           about 3 minutes; packages come from the Debian mirror
#
# A plain Debian root made by debootstrap stands in for debian:12-slim. buildah builds docker/Dockerfile on it, its steps in a
# chroot; the program is then started out of the image, as its user, and answers a request.
# Exit status: 0 all of that went well, 1 something failed, 77 a tool or the mirror is missing.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "docker/check.sh: needs root" >&2; exit 77; }

missing=""
for tool in buildah debootstrap python3 curl; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086
    apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1 ||
        { echo "not checked: cannot install$missing" >&2; exit 77; }
fi

work=$(mktemp -d)
container="" server="" proxy=""
b() { buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run" "$@"; }
finish() {
    status=$?
    for pid in $server $proxy; do kill "$pid" 2>/dev/null || true; done
    [ -z "$container" ] || b umount "$container" >/dev/null 2>&1 || true
    b rm --all >/dev/null 2>&1 || true
    b rmi --all --force >/dev/null 2>&1 || true
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM
step() { echo "=== $*"; }

step "a plain Debian 12 root"
debootstrap --variant=minbase bookworm "$work/debian" >"$work/debootstrap.log" 2>&1 ||
    { tail -n 5 "$work/debootstrap.log" >&2; echo "not checked: no Debian mirror?" >&2; exit 77; }
rm -rf "$work/debian/var/cache/apt/archives/"*.deb
base=$(b from scratch)
b add -q "$base" "$work/debian" / >/dev/null
b commit -q "$base" localhost/debian-standin:12 >/dev/null
b rm "$base" >/dev/null
rm -rf "$work/debian"

step "docker/Dockerfile"
b bud --isolation chroot --network host --pull-never --build-arg BASE=localhost/debian-standin:12 -t localhost/lastack:check \
    --ignorefile .dockerignore -f docker/Dockerfile . >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log" >&2; exit 1; }

step "the image"
inspect() { b inspect --type image --format "$1" localhost/lastack:check; }
[ "$(inspect '{{.OCIv1.Config.User}}')" = 10001 ] || { echo "it runs as root" >&2; exit 1; }
[ "$(inspect '{{index .OCIv1.Config.Entrypoint 0}}')" = /usr/local/sbin/lastack ] || { echo "wrong entry point" >&2; exit 1; }
container=$(b from --pull-never localhost/lastack:check)
root=$(b mount "$container")
for tool in gcc cmake ninja; do
    [ ! -e "$root/usr/bin/$tool" ] || { echo "$tool is left in the image" >&2; exit 1; }
done
echo "program: $(stat -c %s "$root/usr/local/sbin/lastack") bytes"
b run --isolation chroot "$container" -- /usr/local/sbin/lastack --version
b run --isolation chroot "$container" -- /usr/local/sbin/lastack check /etc/lastack/lastack.yaml

step "a request through it"
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
back=$(free_port) front=$(free_port) admin=$(free_port)
python3 -m http.server --bind 127.0.0.1 -d docker/site "$back" >/dev/null 2>&1 &
server=$!
curl -sS --retry 20 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$back/" >/dev/null 2>&1
chroot --userspec=10001:10001 "$root" /usr/local/sbin/lastack run --listen "127.0.0.1:$front" --upstream "127.0.0.1:$back" \
    --admin "127.0.0.1:$admin" >"$work/lastack.log" 2>&1 &
proxy=$!
curl -sS --retry 20 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$admin/readyz" >/dev/null
curl -sS --retry 20 --retry-all-errors --retry-delay 1 -f "http://127.0.0.1:$front/static/" | grep -q "through lastack" ||
    { cat "$work/lastack.log" >&2; exit 1; }
[ "$(stat -c %u "/proc/$proxy")" = 10001 ] || { echo "it runs as another user" >&2; exit 1; }
kill -TERM "$proxy"
wait "$proxy" || { echo "it did not end well after SIGTERM" >&2; exit 1; }
proxy=""

step "compose.yaml, kubernetes.yaml"
python3 - "$work" <<'PY'
import sys, yaml
with open("docker/compose.yaml") as f:
    services = yaml.safe_load(f)["services"]
for name, service in services.items():
    assert "image" in service or "build" in service, name
    for other in service.get("depends_on", []):
        assert other in services, other
with open("docker/kubernetes.yaml") as f:
    found = list(yaml.safe_load_all(f))
for thing in found:
    assert thing["apiVersion"] and thing["kind"] and thing["metadata"]["name"], thing
conf = next(t for t in found if t["kind"] == "ConfigMap")["data"]["lastack.yaml"]
with open(sys.argv[1] + "/kubernetes-lastack.yaml", "w") as f:
    f.write(conf)
PY
cp "$work/kubernetes-lastack.yaml" "$root/tmp/lastack.yaml"
b run --isolation chroot "$container" -- /usr/local/sbin/lastack check /tmp/lastack.yaml
if docker compose version >/dev/null 2>&1; then
    docker compose -f docker/compose.yaml config -q
    echo "docker compose reads compose.yaml"
else
    echo "not checked: docker compose is not here; compose.yaml was read as YAML only"
fi
echo "checked: the Dockerfile's steps, the image's content and user, the program started from it with one request through it."
echo "not checked: debian:12-slim itself (a debootstrap root stood in), isolation and limits that an engine adds, starting the"
echo "services of compose.yaml together, and kubernetes.yaml in a cluster."
