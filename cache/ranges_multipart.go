package cache

import (
	"crypto/rand"
	"strings"
)

// A multipart is a body of several ranges (RFC 9110 §14.6).
type multipart struct {
	contentType string   // of the answer, with the boundary
	length      int64    // of the whole body
	heads       []string // what stands before each span's bytes
	tail        string
}

// newMultipart prepares the answer for spans of an object. An empty contentType is
// that of an object without one: the parts have none either.
func newMultipart(spans []span, size int64, contentType string) *multipart {
	// Random, so that nobody can make an object that holds it.
	boundary := rand.Text()
	m := &multipart{
		contentType: "multipart/byteranges; boundary=" + boundary,
		tail:        "\r\n--" + boundary + "--\r\n",
	}
	m.length = int64(len(m.tail))
	for i, s := range spans {
		head := partHead(boundary, contentType, contentRange(s, size))
		if i == 0 {
			head = strings.TrimPrefix(head, "\r\n") // else it is a preamble
		}
		m.heads = append(m.heads, head)
		m.length += int64(len(head)) + s.to - s.from
	}
	return m
}

// partHead is what separates a part from the one before, and its fields (RFC 2046 §5.1).
func partHead(boundary, contentType, contentRange string) string {
	head := "\r\n--" + boundary + "\r\n"
	if contentType != "" {
		head += "Content-Type: " + contentType + "\r\n"
	}
	return head + "Content-Range: " + contentRange + "\r\n\r\n"
}
