"""Commands."""

from optimizer.cli.main import main as main
