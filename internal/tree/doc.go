// Package tree removes and measures directory trees whose content nobody
// vouches for: what containers leave behind. Nothing is ever resolved by path:
// no symbolic link is followed and no mount point crossed, trees may be deeper
// than a path or the number of descriptors allows, and may change meanwhile.
package tree
