"""The native kernel: segments of training steps on a CPU in C++, built on first use by the system's compiler."""
