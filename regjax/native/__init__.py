"""The native kernel: training steps on a CPU in C++, built on first use by the system's compiler."""
