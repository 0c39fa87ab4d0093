"""The simulated cluster: a real HTTP server that speaks Kubernetes, and runs no pod.

It exists so that the whole product works, and is tested, without a cluster at
hand: the same driver, over the same wire. What a sandbox depends on is done for
real (server-side apply with field managers, quotas, Pod Security, finalizers,
network policies evaluated when the probe "runs"); what it does not depend on is
left out. Its version carries "petridish-simulated", so nobody is deceived.

    http → objects (the API's rules) → store (SQLite)
                     ↑ ↓ changes
                 controllers (namespaces, workloads, pods, quotas, garbage)

kmock was looked at first: it answers as a test scripts it, but knows neither
server-side apply with field owners nor state that outlives it, and brings aiohttp.

Everything runs on one event loop and one connection, so every request is atomic.
"""
