"""Code search: index a folder into Qdrant and search it by meaning.

    workspace.py    names: the workspace's path, its collection, paths inside it
    git.py          the files that git lists, in a work tree
    ignore.py       our own reading of .gitignore elsewhere, .rooignore and the clients' rules
    walk.py         the files to index, and why the others are not
    languages.py    extension -> language, grammar
    chunk.py        what a chunk is; one file -> its chunks
    syntax.py       boundaries from a syntax tree
    text.py         boundaries from lines and Markdown headers; packing into 50-1150 characters
    embedder.py     POST /v1/embeddings, like any client
    store.py        the collection in Qdrant
    sync.py         make the collection equal to the folder
    watch.py        and keep it so
    search.py       find
    progress.py     what a person sees meanwhile

It reaches the service and Qdrant by HTTP only. Names, point ids and payloads are those of Roo Code and Zoo
Code, so that an index made here is searched by them and theirs here.
"""
