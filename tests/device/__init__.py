"""What runs on another device than the CPU (`make test-device`): it needs a C++ compiler and no GPU."""
