// The rival in Go: a GitHub webhook into Kafka with net/http and franz-go, the job of
// ../../fastapi_app.py line by line. It shows what the same work costs without an interpreter.
package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const maxBody = 1 << 20

type entity struct {
	ID     json.Number `json:"id"`
	Number json.Number `json:"number"`
}

type payload struct {
	Action      *string `json:"action"`
	Ref         string  `json:"ref"`
	Repository  *entity `json:"repository"`
	PullRequest *entity `json:"pull_request"`
	Issue       *entity `json:"issue"`
	Release     *entity `json:"release"`
	WorkflowRun *entity `json:"workflow_run"`
	CheckRun    *entity `json:"check_run"`
}

// resource is `type/id` of what an event is about; empty if it names nothing.
func resource(event string, of *payload) string {
	own := map[string]*entity{
		"release": of.Release, "workflow_run": of.WorkflowRun, "check_run": of.CheckRun,
	}
	if found, listed := own[event]; listed {
		if found == nil {
			return ""
		}
		return event + "/" + found.ID.String()
	}
	if of.Repository == nil {
		return ""
	}
	repository := of.Repository.ID.String()
	switch {
	case of.PullRequest != nil:
		return "pull_request/" + repository + "#" + of.PullRequest.Number.String()
	case of.Issue != nil:
		return "issue/" + repository + "#" + of.Issue.Number.String()
	case event == "push":
		return "ref/" + repository + "@" + of.Ref
	}
	return "repository/" + repository
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":%q}`, code)
}

func main() {
	secret, topic := []byte(os.Getenv("BENCH_SECRET")), os.Getenv("BENCH_TOPIC")
	// Idempotent and acks=all are its defaults; said here, since the job asks for them.
	client, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("BENCH_KAFKA")),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ProducerLinger(0),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if client.Ping(r.Context()) != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("POST /webhooks/{connection}", func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			refuse(w, http.StatusRequestEntityTooLarge, "too_large")
			return
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write(body)
		given, _ := strings.CutPrefix(r.Header.Get("X-Hub-Signature-256"), "sha256=")
		if sent, err := hex.DecodeString(given); err != nil || !hmac.Equal(mac.Sum(nil), sent) {
			refuse(w, http.StatusUnauthorized, "signature_refused")
			return
		}
		delivery, event := r.Header.Get("X-Github-Delivery"), r.Header.Get("X-Github-Event")
		var read payload
		about := ""
		if json.Unmarshal(body, &read) == nil {
			about = resource(event, &read)
		}
		if delivery == "" || event == "" || about == "" {
			refuse(w, http.StatusUnprocessableEntity, "unreadable")
			return
		}
		kind := event
		if read.Action != nil {
			kind = "github." + event + "." + *read.Action
		}
		var random [10]byte
		rand.Read(random[:])
		id := fmt.Sprintf("%012x%x", time.Now().UnixMilli(), random)
		record := &kgo.Record{
			Topic: topic,
			Key:   []byte("acme/" + r.PathValue("connection") + "/" + about),
			Value: body,
			Headers: []kgo.RecordHeader{
				{Key: "request_id", Value: []byte(id)},
				{Key: "event_type", Value: []byte(kind)},
				{Key: "event_id", Value: []byte(delivery)},
			},
		}
		if client.ProduceSync(r.Context(), record).FirstErr() != nil {
			w.Header().Set("Retry-After", "2")
			refuse(w, http.StatusServiceUnavailable, "unavailable")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Request-ID", id)
		w.Header().Set("Server-Timing", fmt.Sprintf("total;dur=%.3f", time.Since(began).Seconds()*1000))
		fmt.Fprintf(w, `{"request_id":%q}`, id)
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
