"""The Processing provider: parameters in, an engine command out, layers styled."""
