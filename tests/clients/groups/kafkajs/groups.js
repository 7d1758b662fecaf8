// kafkajs with the verbs of ../README.md.

const { Kafka, logLevel } = require('kafkajs')

const [verb, broker, ...rest] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'kafkajs', brokers: [broker], logLevel: logLevel.ERROR, logCreator: () => ({ log }) => console.error(log.message, log.error || '') })
const show = (partition, message) => console.log(partition, message.offset, message.key.toString(), message.value.toString())
const ended = new Promise(resolve => { if (verb === 'member' || verb === 'copy') process.stdin.on('end', resolve).resume() })

async function produce(topic, from, count) {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  const numbers = Array.from({ length: Number(count) }, (_, i) => Number(from) + i)
  await producer.send({ topic, acks: -1, messages: numbers.map(n => ({ key: `key-${n % 100}`, value: `${n}` })) })
  await producer.disconnect()
}

async function joined(group, topic) {
  const consumer = kafka.consumer({ groupId: group, sessionTimeout: 10000, heartbeatInterval: 500, maxWaitTimeInMs: 100, readUncommitted: false })
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => console.log('owns', ...(payload.memberAssignment[topic] || [])))
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  return consumer
}

async function member(group, topic) {
  const consumer = await joined(group, topic)
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch }) => {
      batch.messages.forEach(message => show(batch.partition, message))
      await consumer.commitOffsets([{ topic, partition: batch.partition, offset: `${BigInt(batch.lastOffset()) + 1n}` }])
    },
  })
  await ended
  await consumer.disconnect()
}

async function copy(group, from, to, id) {
  const consumer = await joined(group, from)
  const producer = kafka.producer({ transactionalId: id, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  let number = 0
  const transaction = async batch => {
    const one = await producer.transaction()
    await one.send({ topic: to, messages: batch.messages.map(({ key, value }) => ({ key, value })) })
    await one.sendOffsets({ consumerGroupId: group, topics: [{ topic: from, partitions: [{ partition: batch.partition, offset: `${BigInt(batch.lastOffset()) + 1n}` }] }] })
    return one
  }
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch }) => {
      if (batch.messages.length === 0) return
      if (number++ % 3 === 0) await (await transaction(batch)).abort()
      await (await transaction(batch)).commit()
      batch.messages.forEach(message => show(batch.partition, message))
    },
  })
  await ended
  await consumer.disconnect()
  await producer.disconnect()
}

async function committed(topic) {
  const admin = kafka.admin()
  await admin.connect()
  // What a reader who sees everything sees is the end of the log; markers stand there too, so the last record comes before it.
  const left = new Map((await admin.fetchTopicOffsets(topic)).filter(part => part.high !== part.low).map(part => [part.partition, BigInt(part.high)]))
  await admin.disconnect()
  const consumer = kafka.consumer({ groupId: `reader-${process.pid}`, maxWaitTimeInMs: 100, readUncommitted: false })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  let quiet = Date.now()
  consumer.on(consumer.events.END_BATCH_PROCESS, () => { quiet = Date.now() })
  await consumer.run({ autoCommit: false, eachMessage: async ({ partition, message }) => show(partition, message) })
  while (Date.now() - quiet < 3000) await new Promise(resolve => setTimeout(resolve, 100))
  await consumer.disconnect()
}

({ produce, member, copy, committed })[verb](...rest).then(() => process.exit(0), error => { console.error(error); process.exit(1) })
