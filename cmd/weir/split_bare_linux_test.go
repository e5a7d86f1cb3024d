package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What the bare writer sends: bursts of one picture at 4 Mbit/s and 25 a second.
const (
	barePacket = 1316 // bytes
	bareBurst  = 16   // packets
	bareEvery  = 40 * time.Millisecond
)

// sinksMain takes in what the bare writer sends. It prints an address for TCP, and
// in a second line one for each sink over UDP, and ends with its standard input.
func sinksMain(sinks int, stdin io.Reader, stdout io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(onlyWriter{io.Discard}, c) //nolint:errcheck // until the end
		}
	}()
	var addrs []string
	for range sinks {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetReadBuffer(1 << 20) //nolint:errcheck // what is lost is lost
		addrs = append(addrs, c.LocalAddr().String())
		go func() {
			for b := make([]byte, 2048); ; {
				if _, _, err := c.ReadFromUDPAddrPort(b); err != nil {
					return
				}
			}
		}()
	}
	fmt.Fprintln(stdout, l.Addr())
	fmt.Fprintln(stdout, strings.Join(addrs, ","))
	_, err = io.Copy(io.Discard, stdin)
	return err
}

// onlyWriter hides that io.Discard reads with small buffers.
type onlyWriter struct{ io.Writer }

// bareMain writes the same bytes to all: to each address of a list by UDP, which the
// kernel cuts into packets, or by TCP to one address as often as sinks says. It ends
// with its standard input.
func bareMain(transport, to string, sinks int, stdin io.Reader, stdout io.Writer) error {
	burst := make([]byte, barePacket*bareBurst)
	send, err := bareTCP(to, sinks, burst)
	if transport == "udp" {
		send, err = bareUDP(strings.Split(to, ","), burst)
	}
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	ended := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(bareEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				send()
			case <-ended:
				return
			}
		}
	})
	fmt.Fprintln(stdout, "writing")
	_, err = io.Copy(io.Discard, stdin)
	close(ended)
	wg.Wait()
	return err
}

func bareTCP(to string, sinks int, burst []byte) (send func(), err error) {
	if strings.Contains(to, ",") {
		return nil, nil
	}
	conns := make([]net.Conn, sinks)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", to); err != nil {
			return nil, err
		}
	}
	return func() {
		for _, c := range conns {
			c.Write(burst) //nolint:errcheck // the benchmark counts time only
		}
	}, nil
}

func bareUDP(to []string, burst []byte) (send func(), err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 8<<20) //nolint:errcheck // less will do
	if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, barePacket); err != nil {
		return nil, os.NewSyscallError("setsockopt UDP_SEGMENT", err)
	}
	var addrs []*unix.SockaddrInet4
	for _, s := range to {
		a, err := net.ResolveUDPAddr("udp4", s)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())})
	}
	return func() {
		for _, a := range addrs {
			unix.Sendto(fd, burst, 0, a) //nolint:errcheck // the benchmark counts time only
		}
	}, nil
}
