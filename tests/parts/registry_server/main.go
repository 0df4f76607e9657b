// A schema registry with the Confluent API: franz-go's server, kept across restarts.
//
// The server holds its schemas in memory. Requests that change it are written to a journal before they are
// answered and are run again at the next start; the ids come out the same, since they are given in order.
//
// Usage: registry ADDRESS JOURNAL
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"

	"github.com/twmb/franz-go/pkg/sr/srfake"
)

type change struct{ Method, URL, Body string }

func replay(handler http.Handler, journal io.Reader) error {
	lines := bufio.NewScanner(journal)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var c change
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		request := httptest.NewRequest(c.Method, c.URL, bytes.NewBufferString(c.Body))
		request.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
		handler.ServeHTTP(httptest.NewRecorder(), request)
	}
	return lines.Err()
}

func journalled(handler http.Handler, journal *os.File) http.Handler {
	var lock sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			handler.ServeHTTP(w, r)
			return
		}
		lock.Lock()
		defer lock.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		line, err := json.Marshal(change{r.Method, r.URL.String(), string(body)})
		if err == nil {
			_, err = journal.Write(append(line, '\n'))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		handler.ServeHTTP(w, r)
	})
}

func run(address, path string) error {
	registry := srfake.New()
	defer registry.Close()
	journal, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := replay(registry.Handler(), journal); err != nil {
		return err
	}
	return http.ListenAndServe(address, journalled(registry.Handler(), journal))
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: registry ADDRESS JOURNAL")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
