"""Synthesisers that others wrote: programs and plug-ins, each in a process of its own."""
