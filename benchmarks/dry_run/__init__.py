"""MindSpore's GPU compiler on a machine without a GPU: for gpu_dry_run.py and compiled_for_gpu.py."""
