"""Speed and memory of everymask beside its peers, on one machine; the results stand in docs/benchmarks.md."""
