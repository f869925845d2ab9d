"""
What `task-server init` sees of a project, and the task-server.toml that follows from it.

    folder, recipes, source    the project read as text
    imported                   the project imported, in a process of its own
    workers                    queues -> which pool takes which, and why
    document, difference       what was found -> the file, or what a file lacks
"""
