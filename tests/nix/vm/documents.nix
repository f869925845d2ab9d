# One machine with everything: documents go through both queues.
{
  name = "task-server-documents";
  nodes.machine = ./machine/docket.nix;
  testScript = builtins.readFile ./documents.py;
}
