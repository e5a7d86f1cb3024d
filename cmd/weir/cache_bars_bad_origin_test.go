package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// A badOrigin answers by what a test writes on the connection, by path. Nothing
// stands between that would put it right. After an answer the connection is closed.
type badOrigin struct {
	l       net.Listener
	answers map[string]func(net.Conn)
	wg      sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	count map[string]int // requests, by path
}

func startBadOrigin(t *testing.T, answers map[string]func(net.Conn)) *badOrigin {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	o := &badOrigin{l: l, answers: answers, count: map[string]int{}}
	o.wg.Go(o.accept)
	t.Cleanup(o.close)
	return o
}

func (o *badOrigin) url() string { return "http://" + o.l.Addr().String() }

func (o *badOrigin) accept() {
	for {
		c, err := o.l.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		o.conns = append(o.conns, c)
		o.mu.Unlock()
		o.wg.Go(func() { o.serve(c) })
	}
}

func (o *badOrigin) serve(c net.Conn) {
	defer c.Close()
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return // a probe, or the end
	}
	o.mu.Lock()
	o.count[req.URL.Path]++
	o.mu.Unlock()
	if answer := o.answers[req.URL.Path]; answer != nil {
		answer(c)
	} else {
		io.WriteString(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") //nolint:errcheck
	}
}

func (o *badOrigin) asked(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count[path]
}

func (o *badOrigin) close() {
	o.l.Close()
	o.mu.Lock()
	for _, c := range o.conns {
		c.Close()
	}
	o.mu.Unlock()
	o.wg.Wait()
}

// says answers with a text, in which \n is the end of a line of the header.
func says(head, body string) func(net.Conn) {
	return func(c net.Conn) {
		io.WriteString(c, strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n"+body) //nolint:errcheck // the viewer says it
	}
}

// cacheable is the beginning of answers that would be stored if they were right.
const cacheable = "HTTP/1.1 200 OK\nContent-Type: video/mp2t\nCache-Control: max-age=3600\nEtag: \"bad\""

// silent waits until the edge hangs up.
func silent(c net.Conn) { io.Copy(io.Discard, c) } //nolint:errcheck // that is what it waits for
