"""``python -m robustfw``."""

from robustfw.cli import main

if __name__ == "__main__":
    main()
