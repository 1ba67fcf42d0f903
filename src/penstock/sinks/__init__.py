"""Where lanes write: one package or module per system, each with its guarantee in its docstring."""
