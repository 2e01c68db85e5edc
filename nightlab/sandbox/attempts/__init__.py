"""What a hostile candidate tries first: a program that ``probe`` runs in a sandbox.

The engine imports its names and never calls it: its text is started with the exact flags
of a job, gets the bait over the job's socket, and prints what came of it. Standard
library only, since torch takes seconds to import and Nightlab is not there inside.

An attempt returns what it reached; a refusal is an exception, and its text says how the
system refused. What only the host can see (a datagram that arrives, a process that is left
behind), the host judges.
"""
