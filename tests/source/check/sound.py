"""A small estate without a mistake; each test spoils one thing in it."""

SOUND = """\
kind: Estate
metadata: {name: e}
spec: {ssh: {keyFile: /k, knownHosts: /h}}
---
kind: Site
metadata: {name: paris}
spec: {twin: milan}
---
kind: Site
metadata: {name: milan}
spec: {twin: paris}
---
kind: InterSiteLink
metadata: {name: metro}
spec: {between: [paris, milan], members: 2}
---
kind: Switch
metadata: {name: paris-sw}
spec:
  site: paris
  address: 10.77.0.2
  ports: [{name: t0, link: metro/1}, {name: t1, link: metro/2}, {name: h1, host: paris-1}]
---
kind: Host
metadata: {name: paris-1}
spec:
  site: paris
  address: 10.77.0.11
  pools: [{name: default}, {name: fast, path: /fast}]
  capacity: {memory: 16GiB, cpus: 8}
---
kind: Host
metadata: {name: milan-1}
spec: {site: milan, address: 10.77.1.11, capacity: {memory: 8GiB, cpus: 16}}
---
kind: Network
metadata: {name: office}
spec:
  vlan: 200
  sites: [paris, milan]
  subnet: 10.2.0.0/24
  gateway: {address: 10.2.0.254, vrid: 20, preferred: paris}
---
kind: Network
metadata: {name: lab}
spec: {vlan: 201, sites: [milan], subnet: 10.3.0.0/24}
---
kind: ProtectionPolicy
metadata: {name: gold}
spec: {rpo: 5m}
---
kind: VirtualMachine
metadata: {name: sql}
spec:
  memory: 2GiB
  disks: [{name: vda, size: 40GiB}]
  nics: [{network: office, mac: 52:54:00:12:34:56}]
  placement: {site: paris}
  protection: gold
"""
