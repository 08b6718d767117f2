package state

// CreateBare is Create in a directory that is not prepared, which needs no root.
var CreateBare = create
