//! TLS, SASL and delegation tokens.
//!
//! Rows of the one configuration table; the columns are explained at `key::Key`.

use super::key::*;

keys! {
    /// TLS, SASL and delegation tokens.
    Broker:
    "connections.max.reauth.ms": Long = Preset::Text("0"), Valid::Any, Medium ReadOnly NotYet,
        "How long a SASL session lasts before the client must authenticate again; 0 is for ever.";
    "sasl.server.max.receive.size": Int = Preset::Text("524288"), Valid::Any, Medium ReadOnly NotYet,
        "The largest SASL message that is accepted.";
    "security.providers": String = Preset::Null, Valid::Any, Low ReadOnly Inert,
        "Java's security providers.";
    "principal.builder.class": Class = Preset::Text("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"), Valid::Any, Medium PerBroker NotYet,
        "The rule that makes a principal of an authenticated connection.";
    "ssl.client.auth": String = Preset::Text("none"), Valid::OneOf(&["required", "requested", "none"]), Medium PerBroker NotYet,
        "Whether clients must, may or need not show a certificate.";
    "ssl.principal.mapping.rules": String = Preset::Text("DEFAULT"), Valid::Any, Low ReadOnly NotYet,
        "How a certificate's name becomes a principal's name.";
    "ssl.allow.dn.changes": Boolean = Preset::Text("false"), Valid::Any, Low ReadOnly NotYet,
        "Whether a renewed certificate may bear another name.";
    "ssl.allow.san.changes": Boolean = Preset::Text("false"), Valid::Any, Low ReadOnly NotYet,
        "Whether a renewed certificate may bear other alternative names.";
    "ssl.protocol": String = Preset::Text("TLSv1.3"), Valid::Any, Medium PerBroker Inert,
        "The TLS protocol Java's context is made for.";
    "ssl.provider": String = Preset::Null, Valid::Any, Medium PerBroker Inert,
        "Java's TLS provider.";
    "ssl.enabled.protocols": List = Preset::Text("TLSv1.2,TLSv1.3"), ANY_LIST, Medium PerBroker NotYet,
        "The TLS versions that are accepted.";
    "ssl.cipher.suites": List = Preset::Text(""), ANY_LIST, Medium PerBroker NotYet,
        "The cipher suites that are accepted; empty is the library's own choice.";
    "ssl.keystore.type": String = Preset::Text("JKS"), Valid::Any, Medium PerBroker NotYet,
        "The format of the key store: JKS, PKCS12 or PEM.";
    "ssl.keystore.location": String = Preset::Null, Valid::Any, Medium PerBroker NotYet,
        "The file of the key store.";
    "ssl.keystore.password": Password = Preset::Null, Valid::Any, Medium PerBroker NotYet,
        "The password of the key store.";
    "ssl.key.password": Password = Preset::Null, Valid::Any, Medium PerBroker NotYet,
        "The password of the private key.";
    "ssl.keystore.key": Password = Preset::Null, Valid::Any, Medium PerBroker NotYet,
        "The private key itself, as PEM.";
    "ssl.keystore.certificate.chain": Password = Preset::Null, Valid::Any, Medium PerBroker NotYet,
        "The certificate chain itself, as PEM.";
    "ssl.truststore.type": String = Preset::Text("JKS"), Valid::Any, Medium PerBroker NotYet,
        "The format of the trust store: JKS, PKCS12 or PEM.";
    "ssl.truststore.location": String = Preset::Null, Valid::Any, Medium PerBroker NotYet,
        "The file of the trust store.";
    "ssl.truststore.password": Password = Preset::Null, Valid::Any, Medium PerBroker NotYet,
        "The password of the trust store.";
    "ssl.truststore.certificates": Password = Preset::Null, Valid::Any, Medium PerBroker NotYet,
        "The trusted certificates themselves, as PEM.";
    "ssl.keymanager.algorithm": String = Preset::Text("SunX509"), Valid::Any, Medium PerBroker Inert,
        "Java's algorithm of key managers.";
    "ssl.trustmanager.algorithm": String = Preset::Text("PKIX"), Valid::Any, Medium PerBroker Inert,
        "Java's algorithm of trust managers.";
    "ssl.endpoint.identification.algorithm": String = Preset::Text("https"), Valid::Any, Low PerBroker NotYet,
        "Whether a server's name is checked against its certificate; empty switches the check off.";
    "ssl.secure.random.implementation": String = Preset::Null, Valid::Any, Low PerBroker Inert,
        "Java's source of random numbers.";
    "ssl.engine.factory.class": Class = Preset::Null, Valid::Any, Low PerBroker Inert,
        "The class that makes Java's TLS engines.";
    "sasl.mechanism.inter.broker.protocol": String = Preset::Text("GSSAPI"), Valid::Any, Medium PerBroker NotYet,
        "The SASL mechanism among brokers.";
    "sasl.enabled.mechanisms": List = Preset::Text("GSSAPI"), ANY_LIST, Medium PerBroker NotYet,
        "The SASL mechanisms that are accepted.";
    "sasl.jaas.config": Password = Preset::Null, Valid::Any, Medium PerBroker NotYet,
        "The login of a listener and mechanism, in JAAS syntax.";
    "sasl.server.callback.handler.class": Class = Preset::Null, Valid::Any, Medium ReadOnly Inert,
        "The class that checks SASL credentials.";
    "sasl.client.callback.handler.class": Class = Preset::Null, Valid::Any, Medium ReadOnly Inert,
        "The class that supplies SASL credentials.";
    "sasl.login.class": Class = Preset::Null, Valid::Any, Medium ReadOnly Inert,
        "The class that logs in.";
    "sasl.login.callback.handler.class": Class = Preset::Null, Valid::Any, Medium ReadOnly Inert,
        "The class that supplies logins.";
    "sasl.kerberos.service.name": String = Preset::Null, Valid::Any, Medium PerBroker NotYet,
        "The service name of Kerberos.";
    "sasl.kerberos.kinit.cmd": String = Preset::Text("/usr/bin/kinit"), Valid::Any, Medium PerBroker Inert,
        "The path of the kinit command.";
    "sasl.kerberos.ticket.renew.window.factor": Double = Preset::Text("0.8"), Valid::Any, Medium PerBroker Inert,
        "When a Kerberos ticket is renewed, as a share of its life.";
    "sasl.kerberos.ticket.renew.jitter": Double = Preset::Text("0.05"), Valid::Any, Medium PerBroker Inert,
        "The random share added to that time.";
    "sasl.kerberos.min.time.before.relogin": Long = Preset::Text("60000"), Valid::Any, Medium PerBroker Inert,
        "The least time between two Kerberos logins.";
    "sasl.kerberos.principal.to.local.rules": List = Preset::Text("DEFAULT"), ANY_LIST, Medium PerBroker NotYet,
        "How Kerberos principals become names.";
    "sasl.login.refresh.window.factor": Double = Preset::Text("0.8"), Valid::Any, Medium PerBroker NotYet,
        "When a login is renewed, as a share of its life.";
    "sasl.login.refresh.window.jitter": Double = Preset::Text("0.05"), Valid::Any, Medium PerBroker NotYet,
        "The random share added to that time.";
    "sasl.login.refresh.min.period.seconds": Short = Preset::Text("60"), Valid::Any, Medium PerBroker NotYet,
        "The least time between two renewals of a login.";
    "sasl.login.refresh.buffer.seconds": Short = Preset::Text("300"), Valid::Any, Medium PerBroker NotYet,
        "How long before its end a login is renewed at the latest.";
    "sasl.login.connect.timeout.ms": Int = Preset::Null, Valid::Any, Low ReadOnly NotYet,
        "How long the connection to a token issuer may take.";
    "sasl.login.read.timeout.ms": Int = Preset::Null, Valid::Any, Low ReadOnly NotYet,
        "How long the answer of a token issuer may take.";
    "sasl.login.retry.backoff.ms": Long = Preset::Text("100"), Valid::Any, Low ReadOnly NotYet,
        "The first pause after a failed login at a token issuer.";
    "sasl.login.retry.backoff.max.ms": Long = Preset::Text("10000"), Valid::Any, Low ReadOnly NotYet,
        "The longest pause after failed logins at a token issuer.";
    "sasl.oauthbearer.jwt.retriever.class": Class = Preset::Text("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever"), Valid::Any, Medium ReadOnly Inert,
        "The class that fetches tokens.";
    "sasl.oauthbearer.jwt.validator.class": Class = Preset::Text("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator"), Valid::Any, Medium ReadOnly Inert,
        "The class that checks tokens.";
    "sasl.oauthbearer.scope": String = Preset::Null, Valid::Any, Medium ReadOnly NotYet,
        "The scope asked of the token issuer.";
    "sasl.oauthbearer.client.credentials.client.id": String = Preset::Null, Valid::Any, Medium ReadOnly NotYet,
        "The client id shown to the token issuer.";
    "sasl.oauthbearer.client.credentials.client.secret": Password = Preset::Null, Valid::Any, Medium ReadOnly NotYet,
        "The client secret shown to the token issuer.";
    "sasl.oauthbearer.assertion.algorithm": String = Preset::Text("RS256"), Valid::OneOfAnyCase(&["ES256", "RS256"]), Medium ReadOnly NotYet,
        "The algorithm assertions are signed with.";
    "sasl.oauthbearer.assertion.claim.aud": String = Preset::Null, Valid::Any, Medium ReadOnly NotYet,
        "The audience named in assertions.";
    "sasl.oauthbearer.assertion.claim.exp.seconds": Int = Preset::Text("300"), Valid::Between(0, 86400), Low ReadOnly NotYet,
        "How long assertions are valid.";
    "sasl.oauthbearer.assertion.claim.iss": String = Preset::Null, Valid::Any, Medium ReadOnly NotYet,
        "The issuer named in assertions.";
    "sasl.oauthbearer.assertion.claim.jti.include": Boolean = Preset::Text("false"), Valid::Any, Medium ReadOnly NotYet,
        "Whether assertions bear an id.";
    "sasl.oauthbearer.assertion.claim.nbf.seconds": Int = Preset::Text("60"), Valid::Between(0, 3600), Low ReadOnly NotYet,
        "How far before now assertions begin to be valid.";
    "sasl.oauthbearer.assertion.claim.sub": String = Preset::Null, Valid::Any, Medium ReadOnly NotYet,
        "The subject named in assertions.";
    "sasl.oauthbearer.assertion.file": String = Preset::Null, Valid::Any, Medium ReadOnly NotYet,
        "A file with a ready assertion.";
    "sasl.oauthbearer.assertion.private.key.file": String = Preset::Null, Valid::Any, Medium ReadOnly NotYet,
        "The file of the key assertions are signed with.";
    "sasl.oauthbearer.assertion.private.key.passphrase": Password = Preset::Null, Valid::Any, Medium ReadOnly NotYet,
        "The passphrase of that key.";
    "sasl.oauthbearer.assertion.template.file": String = Preset::Null, Valid::Any, Medium ReadOnly NotYet,
        "A file with the fixed parts of assertions.";
    "sasl.oauthbearer.scope.claim.name": String = Preset::Text("scope"), Valid::Any, Low ReadOnly NotYet,
        "The claim that holds a token's scope.";
    "sasl.oauthbearer.sub.claim.name": String = Preset::Text("sub"), Valid::Any, Low ReadOnly NotYet,
        "The claim that holds a token's subject.";
    "sasl.oauthbearer.token.endpoint.url": String = Preset::Null, Valid::Any, Medium ReadOnly NotYet,
        "The address of the token issuer.";
    "sasl.oauthbearer.jwks.endpoint.url": String = Preset::Null, Valid::Any, Medium ReadOnly NotYet,
        "The address of the issuer's public keys.";
    "sasl.oauthbearer.jwks.endpoint.refresh.ms": Long = Preset::Text("3600000"), Valid::Any, Low ReadOnly NotYet,
        "How often those keys are fetched anew.";
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms": Long = Preset::Text("100"), Valid::Any, Low ReadOnly NotYet,
        "The first pause after those keys could not be fetched.";
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms": Long = Preset::Text("10000"), Valid::Any, Low ReadOnly NotYet,
        "The longest pause after those keys could not be fetched.";
    "sasl.oauthbearer.clock.skew.seconds": Int = Preset::Text("30"), Valid::Any, Low ReadOnly NotYet,
        "How far the issuer's clock may differ from ours.";
    "sasl.oauthbearer.allow.unverified.audience": Boolean = Preset::Text("false"), Valid::Any, Medium ReadOnly NotYet,
        "Whether tokens are taken without a check of their audience.";
    "sasl.oauthbearer.expected.audience": List = Preset::Text(""), ANY_LIST, High ReadOnly NotYet,
        "The audiences of which a token must name one.";
    "sasl.oauthbearer.allow.unverified.issuer": Boolean = Preset::Text("false"), Valid::Any, Medium ReadOnly NotYet,
        "Whether tokens are taken without a check of their issuer.";
    "sasl.oauthbearer.expected.issuer": String = Preset::Null, Valid::Any, High ReadOnly NotYet,
        "The issuer a token must name.";
    "delegation.token.secret.key": Password = Preset::Null, Valid::Any, Medium ReadOnly NotYet,
        "The secret from which delegation tokens are made; the same on all nodes; unset switches tokens off.";
    "delegation.token.max.lifetime.ms": Long = Preset::Text("604800000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "The longest life of a delegation token.";
    "delegation.token.expiry.time.ms": Long = Preset::Text("86400000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "How long a delegation token is valid between renewals.";
    "delegation.token.expiry.check.interval.ms": Long = Preset::Text("3600000"), Valid::AtLeast(1), Low ReadOnly NotYet,
        "How often expired delegation tokens are looked for.";
}
