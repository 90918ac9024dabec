"""The command line: parse, build, call one function, print. Heavy imports happen inside the commands."""
