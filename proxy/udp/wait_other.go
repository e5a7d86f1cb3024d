//go:build !unix

package udp

// dontWait has no equal here: a full socket is waited for.
const dontWait = 0
