"""Events of KServe's payload logger: attributes, tensors in their bodies, and how two halves become a pair."""
