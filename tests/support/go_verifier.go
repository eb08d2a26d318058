// Verifies with golang.org/x/mod/sumdb what tests ask, one JSON object per line on both sides.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Ask          string
	Note         []byte
	Vkey         string
	Index, Older int64
	Size         int64
	Leaf, Root   []byte
	OlderRoot    []byte
	Proof        [][]byte
	Folder       string
}

func hash(b []byte) (h tlog.Hash, err error) {
	if len(b) != tlog.HashSize {
		return h, fmt.Errorf("a hash of %d bytes", len(b))
	}
	copy(h[:], b)
	return h, nil
}

func hashes(proof [][]byte) ([]tlog.Hash, error) {
	var all []tlog.Hash
	for _, one := range proof {
		h, err := hash(one)
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

// folder reads tiles as C2SP names them: without the height, which is always 8.
type folder string

func (f folder) Height() int                     { return 8 }
func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}
func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(f), path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// entries returns the records of a bundle, in order.
func entries(f folder, size int64) ([][]byte, error) {
	var all [][]byte
	for n := int64(0); n*256 < size; n++ {
		width := int(size - n*256)
		if width > 256 {
			width = 256
		}
		name := strings.Replace(tlog.Tile{H: 8, L: 0, N: n, W: width}.Path(), "tile/8/0/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(string(f), name))
		if err != nil {
			return nil, err
		}
		for len(data) >= 2 {
			length := 2 + int(binary.BigEndian.Uint16(data))
			if len(data) < length {
				break
			}
			all = append(all, data[2:length])
			data = data[length:]
		}
		if len(data) > 0 {
			return nil, fmt.Errorf("%s is cut off", name)
		}
	}
	if int64(len(all)) != size {
		return nil, fmt.Errorf("%d records", len(all))
	}
	return all, nil
}

// wholeBundle proves every record, and a smaller tree, from the tiles alone.
func wholeBundle(q question) error {
	root, err := hash(q.Root)
	if err != nil {
		return err
	}
	records, err := entries(folder(q.Folder), q.Size)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tlog.Tree{N: q.Size, Hash: root}, folder(q.Folder))
	for n, record := range records {
		proof, err := tlog.ProveRecord(q.Size, int64(n), reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, q.Size, root, int64(n), tlog.RecordHash(record)); err != nil {
			return fmt.Errorf("record %d: %w", n+1, err)
		}
	}
	if q.Older < 1 {
		return nil
	}
	proof, err := tlog.ProveTree(q.Size, q.Older, reader)
	if err != nil {
		return err
	}
	older, err := tlog.TreeHash(q.Older, reader)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, q.Size, root, q.Older, older)
}

func answer(q question) error {
	switch q.Ask {
	case "note":
		verifier, err := note.NewVerifier(q.Vkey)
		if err != nil {
			return err
		}
		opened, err := note.Open(q.Note, note.VerifierList(verifier))
		if err != nil {
			return err
		}
		lines := strings.Split(opened.Text, "\n")
		if len(lines) < 4 {
			return fmt.Errorf("not a checkpoint")
		}
		_, err = tlog.ParseTree([]byte("go.sum database tree\n" + lines[1] + "\n" + lines[2] + "\n"))
		return err
	case "inclusion", "consistency":
		root, err := hash(q.Root)
		if err != nil {
			return err
		}
		proof, err := hashes(q.Proof)
		if err != nil {
			return err
		}
		if q.Ask == "inclusion" {
			leaf, err := hash(q.Leaf)
			if err != nil {
				return err
			}
			return tlog.CheckRecord(proof, q.Size, root, q.Index, leaf)
		}
		older, err := hash(q.OlderRoot)
		if err != nil {
			return err
		}
		return tlog.CheckTree(proof, q.Size, root, q.Older, older)
	case "bundle":
		return wholeBundle(q)
	}
	return fmt.Errorf("unknown question %s", q.Ask)
}

func main() {
	in, out := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	decoder := json.NewDecoder(in)
	for {
		var q question
		if decoder.Decode(&q) != nil {
			return
		}
		refused := ""
		if err := answer(q); err != nil {
			refused = err.Error()
		}
		out.Encode(map[string]string{"refused": refused})
	}
}
