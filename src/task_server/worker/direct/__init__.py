"""
The engine `direct` of prefork: a child that has ended a task fetches the next one for itself.

The main process fetches for children that are idle, as with the engine `central`, and gives
them jobs. A child that has ended one asks Redis itself before it says that it is free: as long
as there are messages, none passes through the main process. It runs what is plain, and hands
the rest over: a message with an ETA, a rate limit, a history of crashes.

The main process sees what each child has in memory that they share. What runs for longer than a
moment, fails, is asked about or is to be stopped, it adopts: it makes Celery's request of it, as
if it had given the job itself, so that time limits, revoking, lost processes, a drain and all
else are Celery's, and ours, as ever.
"""
