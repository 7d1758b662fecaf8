// sarama with the verbs of ../README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

func main() {
	log.SetFlags(0)
	broker := os.Args[2]
	switch a := os.Args[3:]; os.Args[1] {
	case "produce":
		produce(broker, a[0], number(a[1]), number(a[2]))
	case "member":
		run(broker, a[0], a[1], &member{})
	case "copy":
		copyAll(broker, a[0], a[1], a[2], a[3])
	case "committed":
		committed(broker, a[0])
	}
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	// Longer than a node takes to start.
	config.Producer.Retry.Max = 100
	config.Producer.Transaction.Retry.Max = 100
	config.Metadata.Retry.Max = 100
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Consumer.Return.Errors = true
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	config.Consumer.Group.Rebalance.Timeout = 10 * time.Second
	return config
}

// A node that has just started may have no producer id to give yet, and the library does not ask again.
func producerOf(broker string, config *sarama.Config) sarama.SyncProducer {
	for attempt := 1; ; attempt++ {
		producer, err := sarama.NewSyncProducer([]string{broker}, config)
		if err == nil {
			return producer
		}
		if attempt == 50 {
			log.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func produce(broker, topic string, from, count int) {
	producer := producerOf(broker, config())
	var messages []*sarama.ProducerMessage
	for n := from; n < from+count; n++ {
		key := sarama.StringEncoder(fmt.Sprintf("key-%d", n%100))
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Key: key, Value: sarama.StringEncoder(strconv.Itoa(n))})
	}
	check(producer.SendMessages(messages))
	check(producer.Close())
}

func run(broker, group, topic string, handler sarama.ConsumerGroupHandler) {
	over, cancel := context.WithCancel(context.Background())
	go func() { io.Copy(io.Discard, os.Stdin); cancel() }()
	members, err := sarama.NewConsumerGroup([]string{broker}, group, config())
	check(err)
	go func() {
		for err := range members.Errors() {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	for over.Err() == nil {
		err := members.Consume(over, []string{topic}, handler)
		if errors.Is(err, sarama.ErrClosedConsumerGroup) {
			break
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			time.Sleep(100 * time.Millisecond)
		}
	}
	check(members.Close())
}

type member struct {
	copier *copier
	// Two commits at once may overtake each other inside of older versions of the library: the offset of the one that
	// was made first then stands, and it does not commit again.
	commits sync.Mutex
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	for _, parts := range session.Claims() {
		sort.Slice(parts, func(i, j int) bool { return parts[i] < parts[j] })
		words := []any{"owns"}
		for _, part := range parts {
			words = append(words, part)
		}
		fmt.Println(words...)
	}
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			batch := []*sarama.ConsumerMessage{message}
			for len(batch) < 100 && len(claim.Messages()) > 0 {
				batch = append(batch, <-claim.Messages())
			}
			if m.copier != nil {
				if err := m.copier.copy(batch); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return err
				}
			} else {
				m.commits.Lock()
				session.MarkMessage(batch[len(batch)-1], "")
				session.Commit()
				m.commits.Unlock()
			}
			for _, message := range batch {
				show(message)
			}
		case <-time.After(500 * time.Millisecond):
			// A commit that failed is not tried again by itself.
			if m.copier == nil {
				m.commits.Lock()
				session.Commit()
				m.commits.Unlock()
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

// One producer for all partitions, so that one transaction is open at a time.
type copier struct {
	turn     chan struct{}
	producer sarama.SyncProducer
	group    string
	to       string
	number   int
}

func copyAll(broker, group, from, to, id string) {
	transactional := config()
	transactional.Producer.Transaction.ID = id
	producer := producerOf(broker, transactional)
	run(broker, group, from, &member{copier: &copier{turn: make(chan struct{}, 1), producer: producer, group: group, to: to}})
	check(producer.Close())
}

func (c *copier) copy(batch []*sarama.ConsumerMessage) error {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.number++
	if c.number%3 == 1 {
		if err := c.transaction(batch); err != nil {
			return err
		}
		if err := c.producer.AbortTxn(); err != nil {
			return err
		}
	}
	if err := c.transaction(batch); err != nil {
		return err
	}
	return c.producer.CommitTxn()
}

func (c *copier) transaction(batch []*sarama.ConsumerMessage) error {
	if err := c.producer.BeginTxn(); err != nil {
		return err
	}
	var messages []*sarama.ProducerMessage
	for _, m := range batch {
		messages = append(messages, &sarama.ProducerMessage{Topic: c.to, Key: sarama.ByteEncoder(m.Key), Value: sarama.ByteEncoder(m.Value)})
	}
	if err := c.producer.SendMessages(messages); err != nil {
		return err
	}
	return c.producer.AddMessageToTxn(batch[len(batch)-1], c.group, nil)
}

func committed(broker, topic string) {
	client, err := sarama.NewClient([]string{broker}, config())
	check(err)
	consumer, err := sarama.NewConsumerFromClient(client)
	check(err)
	parts, err := client.Partitions(topic)
	check(err)
	for _, part := range parts {
		reader, err := consumer.ConsumePartition(topic, part, sarama.OffsetOldest)
		check(err)
		// Markers are not given to anybody, so the end is silence.
		for quiet := false; !quiet; {
			select {
			case message := <-reader.Messages():
				show(message)
			case <-time.After(2 * time.Second):
				quiet = true
			}
		}
		check(reader.Close())
	}
}

func show(m *sarama.ConsumerMessage) {
	fmt.Println(m.Partition, m.Offset, string(m.Key), string(m.Value))
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	check(err)
	return n
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
