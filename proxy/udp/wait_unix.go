//go:build unix && !linux

package udp

import "syscall"

// dontWait makes sending fail rather than wait for a full socket.
const dontWait = syscall.MSG_DONTWAIT
