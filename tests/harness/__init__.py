"""What the tests share: hosts (network namespaces), the proxy, its peers, other servers, raw HTTP."""
