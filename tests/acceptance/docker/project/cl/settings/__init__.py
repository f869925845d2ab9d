from pathlib import Path

for settings_file in sorted(Path(__file__).parent.glob("[0-9][0-9]-*.py")):
    exec(compile(settings_file.read_text(), settings_file, "exec"))
