from task_server.settings import load

load(globals())
