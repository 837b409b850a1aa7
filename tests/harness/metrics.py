"""Prometheus text as a list of samples that can be asked."""
import collections
import re

Sample = collections.namedtuple("Sample", "name labels value")
_LINE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$')
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)')


class Metrics:
    def __init__(self, text):
        self.samples, self.types, self.text = [], {}, text
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                self.types[name] = kind
            elif line and not line.startswith("#"):
                match = _LINE.match(line)
                assert match, f"not a line of Prometheus text: {line!r}"
                name, labels, value = match.groups()
                found = _LABEL.findall(labels or "")
                rest = _LABEL.sub("", labels or "")
                assert not rest, f"bad labels: {line!r}"
                self.samples.append(Sample(name, dict(found), float(value)))

    def all(self, name, **labels):
        return [s for s in self.samples if s.name == name and all(s.labels.get(k) == v for k, v in labels.items())]

    def sum(self, name, **labels):
        return sum(s.value for s in self.all(name, **labels))

    def by(self, name, label, **labels):
        """{value of label: sum}"""
        out = collections.Counter()
        for s in self.all(name, **labels):
            out[s.labels.get(label)] += s.value
        return dict(out)
