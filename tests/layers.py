"""Fails when a file includes a header of a higher layer, or a library that only one layer may see (DESIGN: layers)."""
import pathlib, re, sys

BELOW = {
    "base": "", "codec": "base", "io": "base", "conf": "base",
    "upstream": "base io conf", "proto": "base codec io conf upstream",
    "proxy": "base codec io conf upstream proto", "admin": "base codec io conf upstream proto proxy",
    "run": "base codec io conf upstream proto proxy admin",
    "tools": "base codec io conf upstream proto proxy admin run",
}
ONLY = {"ev.h": "io", "ares.h": "io", "openssl": "io", "yaml.h": "conf"}

def public_header_layers(root):
    """include/lastack/x.h belongs to the layer that has x*.c implementing it: the first .c that includes it by its own name."""
    layers = {}
    for header in (root / "include/lastack").glob("*.h"):
        first = re.search(r"\blayer: (\w+)", header.read_text())
        if not first:
            sys.exit(f"{header}: no 'layer: NAME' in its opening comment")
        layers[header.name] = first.group(1)
    return layers

def main():
    root = pathlib.Path(sys.argv[1])
    header_layer, bad, files = public_header_layers(root), [], 0
    def check(path, layer):
        allowed = set(BELOW[layer].split()) | {layer}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            m = re.match(r'\s*#\s*include\s+["<]([^">]+)[">]', line)
            if not m:
                continue
            name = m.group(1)
            if name.startswith("lastack/"):
                target = header_layer.get(name[8:])
            elif m.group(0).endswith('"'):
                target = name.split("/")[0] if "/" in name else layer
            else:
                owner = next((o for lib, o in ONLY.items() if name == lib or name.startswith(lib + "/")), layer)
                target = owner if owner != layer else None
                if target is None:
                    continue
            if target not in allowed:
                bad.append(f"{path.relative_to(root)}:{number}: {layer} may not include {name} ({target})")
    for header, layer in header_layer.items():
        files += 1
        check(root / "include/lastack" / header, layer)
    for layer in BELOW:
        for path in sorted((root / "src" / layer).glob("*.[ch]")):
            files += 1
            check(path, layer)
    print("\n".join(bad) or f"{files} files, every include goes down")
    sys.exit(1 if bad or files < 20 else 0)

main()
