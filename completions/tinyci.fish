# fish completion of tinyci(1); the command itself knows what may come next.
function __tinyci_complete
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    tinyci complete $words[2..] (commandline --current-token --cut-at-cursor) 2>/dev/null
end
complete --command tinyci --no-files --arguments '(__tinyci_complete)'
