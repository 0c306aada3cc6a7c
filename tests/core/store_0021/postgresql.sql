-- A store of schema 0021 in PostgreSQL, the first that there was: pg_dump --schema-only of PostgreSQL 15. Frozen.
CREATE FUNCTION public.sekisho_renew_token() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  UPDATE token SET last_at = last_at WHERE key = OLD.token_key;
  RETURN NULL;
END $$;
CREATE FUNCTION public.sekisho_renew_tokens() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  UPDATE token SET last_at = last_at WHERE key IN (SELECT token_key FROM binding WHERE customer_key = NEW.key);
  RETURN NULL;
END $$;
CREATE TABLE public.acceptance (
    customer_key bigint NOT NULL,
    version text NOT NULL,
    accepted_at bigint NOT NULL
);
COMMENT ON COLUMN public.acceptance.version IS 'of the terms of use';
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.api_key (
    key bigint NOT NULL,
    name text NOT NULL,
    digest bytea NOT NULL,
    scopes text NOT NULL,
    networks text NOT NULL,
    made_by bigint
);
COMMENT ON COLUMN public.api_key.digest IS 'keyed digest of what the program sends';
COMMENT ON COLUMN public.api_key.scopes IS 'what it is for, separated by spaces';
COMMENT ON COLUMN public.api_key.networks IS 'where it may come from, separated by spaces; empty: anywhere';
COMMENT ON COLUMN public.api_key.made_by IS 'the member of staff who was shown it; NULL: a command';
CREATE TABLE public.approval (
    key bigint NOT NULL,
    act text NOT NULL,
    customer_key bigint,
    subject text DEFAULT ''::text NOT NULL,
    asked_by bigint,
    asked_by_program text,
    reason text NOT NULL,
    payload bytea,
    seen text NOT NULL,
    state text DEFAULT 'asked'::text NOT NULL,
    decided_by bigint,
    expires_at bigint NOT NULL,
    outcome bigint,
    CONSTRAINT ck_approval_asked_by_one CHECK (((asked_by IS NULL) <> (asked_by_program IS NULL))),
    CONSTRAINT ck_approval_state CHECK ((state = ANY (ARRAY['asked'::text, 'approved'::text, 'refused'::text, 'withdrawn'::text, 'done'::text]))),
    CONSTRAINT ck_approval_subject_one CHECK (((customer_key IS NULL) OR (subject = ''::text)))
);
COMMENT ON COLUMN public.approval.customer_key IS 'NULL: it is about no customer';
COMMENT ON COLUMN public.approval.subject IS 'the name of staff, API key or file; empty: the customer, or nothing that has a name';
COMMENT ON COLUMN public.approval.asked_by IS 'NULL: a program';
COMMENT ON COLUMN public.approval.asked_by_program IS 'the actor of its audit rows; NULL: a member of staff';
COMMENT ON COLUMN public.approval.payload IS 'sealed: what exactly is to be done, JSON';
COMMENT ON COLUMN public.approval.seen IS 'what has to be as it was when it was asked, JSON';
COMMENT ON COLUMN public.approval.outcome IS 'the audit row of what was done; NULL: nothing yet';
CREATE TABLE public.audit (
    id bigint NOT NULL,
    event text NOT NULL,
    actor text NOT NULL,
    customer text,
    token text,
    source text NOT NULL,
    reason text NOT NULL
);
CREATE TABLE public.audit_name (
    name text NOT NULL COLLATE pg_catalog."C",
    stretch bigint NOT NULL,
    number integer NOT NULL
);
COMMENT ON COLUMN public.audit_name.name IS 'e and the event, or a and the actor';
COMMENT ON COLUMN public.audit_name.number IS 'of the rows that have it';
CREATE TABLE public.audit_stretch (
    first bigint NOT NULL,
    last bigint NOT NULL
);
COMMENT ON COLUMN public.audit_stretch.first IS 'the id of its first audit row';
COMMENT ON COLUMN public.audit_stretch.last IS 'and of its last one';
CREATE TABLE public.audit_subject (
    stretch bigint NOT NULL,
    subject text NOT NULL,
    id bigint NOT NULL
);
COMMENT ON COLUMN public.audit_subject.subject IS 'c and the customer, or t and the token';
COMMENT ON COLUMN public.audit_subject.id IS 'of the audit row';
CREATE TABLE public.binding (
    customer_key bigint NOT NULL,
    token_key bigint NOT NULL,
    name text,
    bound_at bigint DEFAULT 0 NOT NULL
);
COMMENT ON COLUMN public.binding.name IS 'what the customer calls the token; NULL: nothing';
COMMENT ON COLUMN public.binding.bound_at IS '0: before 0.3.0, which noted it first';
CREATE TABLE public.challenge (
    state bytea NOT NULL,
    customer_key bigint NOT NULL,
    client text NOT NULL,
    expires_at bigint NOT NULL,
    tries_left smallint NOT NULL,
    password_fingerprint bigint,
    first_factor_state bytea,
    attributes text
);
COMMENT ON COLUMN public.challenge.first_factor_state IS 'of a round of the first factor; NULL: asks for the code';
COMMENT ON COLUMN public.challenge.attributes IS 'reply attributes that the first factor brought, JSON';
CREATE TABLE public.client_period (
    begins_at bigint NOT NULL,
    client text NOT NULL,
    requests integer NOT NULL,
    unprotected integer NOT NULL,
    accepted integer NOT NULL,
    challenged integer NOT NULL,
    rejected integer NOT NULL,
    silent integer NOT NULL
);
CREATE TABLE public.client_stranger (
    source text NOT NULL,
    cause text NOT NULL,
    number bigint NOT NULL,
    first_at bigint NOT NULL,
    last_at bigint NOT NULL
);
CREATE TABLE public.client_use (
    client text NOT NULL,
    since bigint NOT NULL,
    last_at bigint DEFAULT 0 NOT NULL,
    unprotected_at bigint DEFAULT 0 NOT NULL,
    present_at bigint DEFAULT 0 NOT NULL,
    next_at bigint DEFAULT 0 NOT NULL
);
COMMENT ON COLUMN public.client_use.client IS 'its name in the settings';
COMMENT ON COLUMN public.client_use.unprotected_at IS 'without Message-Authenticator';
COMMENT ON COLUMN public.client_use.present_at IS 'with its present secret';
COMMENT ON COLUMN public.client_use.next_at IS 'with the one that is to follow';
CREATE TABLE public.customer (
    key bigint NOT NULL,
    contract_id text NOT NULL COLLATE pg_catalog."C",
    otp_use text NOT NULL,
    locked_at bigint,
    failures smallint DEFAULT 0 NOT NULL,
    failed_at bigint DEFAULT 0 NOT NULL,
    failed_fingerprint bigint DEFAULT 0 NOT NULL,
    language text,
    attributes text,
    CONSTRAINT ck_customer_otp_use CHECK ((otp_use = ANY (ARRAY['none'::text, 'active'::text, 'suspended'::text, 'lost'::text, 'reissue permitted'::text])))
)
WITH (fillfactor='85');
COMMENT ON COLUMN public.customer.attributes IS 'reply attributes, JSON';
CREATE TABLE public.file_import (
    key bigint NOT NULL,
    kind text NOT NULL,
    file_name text NOT NULL,
    choices text NOT NULL,
    size bigint NOT NULL,
    digest bytea NOT NULL,
    state text NOT NULL,
    asked_by bigint NOT NULL,
    source text NOT NULL,
    reason text NOT NULL,
    approved_by text,
    approval_key bigint,
    found text DEFAULT '{}'::text NOT NULL,
    done bigint DEFAULT 0 NOT NULL,
    written bigint DEFAULT 0 NOT NULL,
    claim bigint DEFAULT 0 NOT NULL,
    claimed_until bigint DEFAULT 0 NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    why text,
    changed_at bigint NOT NULL,
    CONSTRAINT ck_file_import_kind CHECK ((kind = ANY (ARRAY['customers'::text, 'tokens'::text]))),
    CONSTRAINT ck_file_import_state CHECK ((state = ANY (ARRAY['receiving'::text, 'checking'::text, 'wrong'::text, 'checked'::text, 'writing'::text, 'done'::text, 'stopped'::text, 'withdrawn'::text])))
);
COMMENT ON COLUMN public.file_import.choices IS 'how it is read, JSON';
COMMENT ON COLUMN public.file_import.size IS 'octets';
COMMENT ON COLUMN public.file_import.digest IS 'keyed digest of the file and how it is read';
COMMENT ON COLUMN public.file_import.approved_by IS 'NULL: nobody has to';
COMMENT ON COLUMN public.file_import.approval_key IS 'the request for a second person';
COMMENT ON COLUMN public.file_import.found IS 'by the check, JSON';
COMMENT ON COLUMN public.file_import.done IS 'octets checked, or rows written';
COMMENT ON COLUMN public.file_import.written IS 'rows that were new';
COMMENT ON COLUMN public.file_import.claim IS 'whoever works on it';
COMMENT ON COLUMN public.file_import.attempts IS 'without any progress';
COMMENT ON COLUMN public.file_import.why IS 'it was not finished';
CREATE TABLE public.file_piece (
    file_key bigint NOT NULL,
    number integer NOT NULL,
    content bytea NOT NULL
);
COMMENT ON COLUMN public.file_piece.content IS 'sealed';
CREATE TABLE public.issuance_key (
    digest bytea NOT NULL,
    token_key bigint NOT NULL,
    repeats smallint DEFAULT 0 NOT NULL
);
COMMENT ON COLUMN public.issuance_key.digest IS 'keyed digest of what an app sent with its request';
COMMENT ON COLUMN public.issuance_key.repeats IS 'how often it was sent again';
CREATE TABLE public.kept_answer (
    digest bytea NOT NULL,
    request bytea NOT NULL,
    answer bytea NOT NULL,
    expires_at bigint NOT NULL
);
COMMENT ON COLUMN public.kept_answer.digest IS 'keyed digest of API key, path and Idempotency-Key';
COMMENT ON COLUMN public.kept_answer.request IS 'keyed digest of what was asked';
COMMENT ON COLUMN public.kept_answer.answer IS 'sealed: it may hold a permit';
CREATE TABLE public.login_remark (
    id bigint NOT NULL,
    remark text NOT NULL
);
COMMENT ON COLUMN public.login_remark.id IS 'of the audit row';
CREATE TABLE public.meta (
    name text NOT NULL,
    value bytea NOT NULL
);
CREATE TABLE public.outbox (
    key bigint NOT NULL,
    customer_key bigint NOT NULL,
    event text NOT NULL,
    token_id text,
    email text NOT NULL,
    language text,
    state text DEFAULT 'pending'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_at bigint DEFAULT 0 NOT NULL,
    claimed_until bigint DEFAULT 0 NOT NULL,
    error text,
    CONSTRAINT ck_outbox_state CHECK ((state = ANY (ARRAY['pending'::text, 'failed'::text])))
);
COMMENT ON COLUMN public.outbox.key IS 'the audit row that the notice tells of';
COMMENT ON COLUMN public.outbox.claimed_until IS 'until then one sender has it';
COMMENT ON COLUMN public.outbox.error IS 'why it was not delivered the last time';
CREATE TABLE public.passkey (
    key bigint NOT NULL,
    staff_key bigint NOT NULL,
    credential_id bytea NOT NULL,
    public_key bytea NOT NULL,
    sign_count bigint NOT NULL,
    used_at bigint DEFAULT 0 NOT NULL,
    challenged_at bigint NOT NULL
);
COMMENT ON COLUMN public.passkey.public_key IS 'COSE';
COMMENT ON COLUMN public.passkey.challenged_at IS 'when the last challenge it has answered was made';
CREATE TABLE public.permit (
    customer_key bigint NOT NULL,
    digest bigint NOT NULL,
    expires_at bigint NOT NULL
);
COMMENT ON COLUMN public.permit.digest IS 'keyed digest of the permit';
CREATE TABLE public.profile (
    customer_key bigint NOT NULL,
    password_hash text,
    name text,
    email text,
    reading text
);
COMMENT ON COLUMN public.profile.password_hash IS 'NULL: no password is checked here';
COMMENT ON COLUMN public.profile.reading IS 'of the name, in kana';
CREATE TABLE public.reservation (
    token_key bigint NOT NULL,
    customer_key bigint NOT NULL,
    session_key bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE TABLE public.seal (
    number bigint NOT NULL,
    until_id bigint NOT NULL,
    body text NOT NULL,
    signature bytea NOT NULL,
    marks bytea NOT NULL
);
COMMENT ON COLUMN public.seal.until_id IS 'the last audit row that it covers';
COMMENT ON COLUMN public.seal.body IS 'what was signed, JSON';
COMMENT ON COLUMN public.seal.signature IS 'Ed25519';
COMMENT ON COLUMN public.seal.marks IS 'id and 64 bits of the digest of each row';
CREATE TABLE public.search_term (
    term text NOT NULL COLLATE pg_catalog."C",
    customer_key bigint NOT NULL
);
COMMENT ON COLUMN public.search_term.term IS 'folded: see folding.py';
CREATE TABLE public.session (
    key bigint NOT NULL,
    digest bytea NOT NULL,
    customer_key bigint,
    source text NOT NULL,
    seen_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    data bytea NOT NULL,
    proof_token_key bigint,
    proof_until bigint
);
COMMENT ON COLUMN public.session.digest IS 'keyed digest of the id in the cookie';
COMMENT ON COLUMN public.session.customer_key IS 'NULL: nobody has signed in yet';
COMMENT ON COLUMN public.session.data IS 'sealed: what the pages remember';
COMMENT ON COLUMN public.session.proof_token_key IS 'the token whose code was spent here to let a new one in';
CREATE TABLE public.shadow_login (
    client text NOT NULL,
    customer text NOT NULL,
    since bigint NOT NULL,
    last_at bigint NOT NULL,
    logins integer NOT NULL,
    agreed integer NOT NULL,
    in_a_row integer NOT NULL,
    refused integer NOT NULL,
    let_in integer NOT NULL,
    first text,
    second text,
    differed_at bigint NOT NULL
);
COMMENT ON COLUMN public.shadow_login.client IS 'its name in the settings';
COMMENT ON COLUMN public.shadow_login.customer IS 'the contract ID, or the name that only the old server knows';
COMMENT ON COLUMN public.shadow_login.logins IS 'accepted by the old server';
COMMENT ON COLUMN public.shadow_login.in_a_row IS 'agreed since the last difference';
COMMENT ON COLUMN public.shadow_login.refused IS 'by the old server';
COMMENT ON COLUMN public.shadow_login.let_in IS 'refused there, let in here';
COMMENT ON COLUMN public.shadow_login.first IS 'what stands in the way of the first round, or of the whole login';
COMMENT ON COLUMN public.shadow_login.second IS 'of the answer to the question for a code';
CREATE TABLE public.sign_on (
    staff_key bigint NOT NULL,
    issuer text NOT NULL,
    subject text NOT NULL,
    called text NOT NULL,
    linked_at bigint NOT NULL,
    used_at bigint DEFAULT 0 NOT NULL,
    asked_at bigint NOT NULL
);
COMMENT ON COLUMN public.sign_on.issuer IS 'of the OpenID provider';
COMMENT ON COLUMN public.sign_on.subject IS 'the provider''s name for them, which it never gives to another';
COMMENT ON COLUMN public.sign_on.called IS 'what the provider called them when it was linked';
COMMENT ON COLUMN public.sign_on.asked_at IS 'when the last request that the provider answered was made';
CREATE TABLE public.staff (
    key bigint NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    disabled_at bigint,
    customer_key bigint,
    link_digest bytea,
    link_until bigint DEFAULT 0 NOT NULL,
    CONSTRAINT ck_staff_role CHECK ((role = ANY (ARRAY['auditor'::text, 'operator'::text, 'supervisor'::text, 'administrator'::text])))
);
COMMENT ON COLUMN public.staff.customer_key IS 'the account whose password and code sign them in; NULL: passkeys alone';
COMMENT ON COLUMN public.staff.link_digest IS 'keyed digest of the one-time link; NULL: none is open';
CREATE TABLE public.staff_session (
    key bigint NOT NULL,
    digest bytea NOT NULL,
    staff_key bigint NOT NULL,
    source text NOT NULL,
    seen_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    confirmed_at bigint NOT NULL,
    data bytea NOT NULL,
    most_role text
);
COMMENT ON COLUMN public.staff_session.digest IS 'keyed digest of the id in the cookie';
COMMENT ON COLUMN public.staff_session.confirmed_at IS 'when passkey or code was given last';
COMMENT ON COLUMN public.staff_session.data IS 'sealed: what the pages remember';
COMMENT ON COLUMN public.staff_session.most_role IS 'the role that the OpenID provider gives them; NULL: it was not asked';
CREATE TABLE public.token (
    key bigint NOT NULL,
    token_id text NOT NULL COLLATE pg_catalog."C",
    seed bytea,
    verifier text DEFAULT 'local'::text NOT NULL,
    kind text NOT NULL,
    algorithm text NOT NULL,
    digits smallint NOT NULL,
    period smallint NOT NULL,
    state text NOT NULL,
    last_step bigint DEFAULT '-1'::integer NOT NULL,
    drift integer DEFAULT 0 NOT NULL,
    last_fingerprint bigint DEFAULT 0 NOT NULL,
    last_at bigint DEFAULT 0 NOT NULL,
    spent_ahead text,
    CONSTRAINT ck_token_local_has_seed CHECK (((seed IS NOT NULL) OR (verifier <> 'local'::text))),
    CONSTRAINT ck_token_state CHECK ((state = ANY (ARRAY['available'::text, 'bound'::text, 'retired'::text, 'lost'::text])))
)
WITH (fillfactor='70');
COMMENT ON COLUMN public.token.seed IS 'sealed: see sealing.py; NULL: verified elsewhere';
COMMENT ON COLUMN public.token.verifier IS 'who knows its codes';
COMMENT ON COLUMN public.token.period IS 'seconds';
COMMENT ON COLUMN public.token.spent_ahead IS 'spans of steps that were accepted while the clock stood in the future';
CREATE TABLE public.unclaimed_token (
    token_key bigint NOT NULL,
    origin text NOT NULL
);
COMMENT ON COLUMN public.unclaimed_token.origin IS 'the source address, or the network that counts as one';
CREATE TABLE public.verified_code (
    fingerprint bigint NOT NULL,
    expires_at bigint NOT NULL
);
COMMENT ON COLUMN public.verified_code.fingerprint IS 'of verifier, token and code, keyed';
CREATE TABLE public.verifier_task (
    key bigint NOT NULL,
    verifier text NOT NULL,
    act text NOT NULL,
    contract_id text NOT NULL,
    token_id text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_at bigint DEFAULT 0 NOT NULL,
    error text,
    CONSTRAINT ck_verifier_task_act CHECK ((act = ANY (ARRAY['add'::text, 'remove'::text])))
);
COMMENT ON COLUMN public.verifier_task.verifier IS 'its name in the settings';
COMMENT ON COLUMN public.verifier_task.error IS 'why the last attempt failed';
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.acceptance
    ADD CONSTRAINT pk_acceptance PRIMARY KEY (customer_key, version);
ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT pk_api_key PRIMARY KEY (key);
ALTER TABLE ONLY public.approval
    ADD CONSTRAINT pk_approval PRIMARY KEY (key);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT pk_audit PRIMARY KEY (id);
ALTER TABLE ONLY public.audit_name
    ADD CONSTRAINT pk_audit_name PRIMARY KEY (name, stretch);
ALTER TABLE ONLY public.audit_stretch
    ADD CONSTRAINT pk_audit_stretch PRIMARY KEY (first);
ALTER TABLE ONLY public.audit_subject
    ADD CONSTRAINT pk_audit_subject PRIMARY KEY (stretch, subject, id);
ALTER TABLE ONLY public.binding
    ADD CONSTRAINT pk_binding PRIMARY KEY (customer_key, token_key);
ALTER TABLE ONLY public.challenge
    ADD CONSTRAINT pk_challenge PRIMARY KEY (state);
ALTER TABLE ONLY public.client_period
    ADD CONSTRAINT pk_client_period PRIMARY KEY (begins_at, client);
ALTER TABLE ONLY public.client_stranger
    ADD CONSTRAINT pk_client_stranger PRIMARY KEY (source, cause);
ALTER TABLE ONLY public.client_use
    ADD CONSTRAINT pk_client_use PRIMARY KEY (client);
ALTER TABLE ONLY public.customer
    ADD CONSTRAINT pk_customer PRIMARY KEY (key);
ALTER TABLE ONLY public.file_import
    ADD CONSTRAINT pk_file_import PRIMARY KEY (key);
ALTER TABLE ONLY public.file_piece
    ADD CONSTRAINT pk_file_piece PRIMARY KEY (file_key, number);
ALTER TABLE ONLY public.issuance_key
    ADD CONSTRAINT pk_issuance_key PRIMARY KEY (digest);
ALTER TABLE ONLY public.kept_answer
    ADD CONSTRAINT pk_kept_answer PRIMARY KEY (digest);
ALTER TABLE ONLY public.login_remark
    ADD CONSTRAINT pk_login_remark PRIMARY KEY (id);
ALTER TABLE ONLY public.meta
    ADD CONSTRAINT pk_meta PRIMARY KEY (name);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT pk_outbox PRIMARY KEY (key);
ALTER TABLE ONLY public.passkey
    ADD CONSTRAINT pk_passkey PRIMARY KEY (key);
ALTER TABLE ONLY public.permit
    ADD CONSTRAINT pk_permit PRIMARY KEY (customer_key);
ALTER TABLE ONLY public.profile
    ADD CONSTRAINT pk_profile PRIMARY KEY (customer_key);
ALTER TABLE ONLY public.reservation
    ADD CONSTRAINT pk_reservation PRIMARY KEY (token_key);
ALTER TABLE ONLY public.seal
    ADD CONSTRAINT pk_seal PRIMARY KEY (number);
ALTER TABLE ONLY public.search_term
    ADD CONSTRAINT pk_search_term PRIMARY KEY (term, customer_key);
ALTER TABLE ONLY public.session
    ADD CONSTRAINT pk_session PRIMARY KEY (key);
ALTER TABLE ONLY public.shadow_login
    ADD CONSTRAINT pk_shadow_login PRIMARY KEY (client, customer);
ALTER TABLE ONLY public.sign_on
    ADD CONSTRAINT pk_sign_on PRIMARY KEY (staff_key);
ALTER TABLE ONLY public.staff
    ADD CONSTRAINT pk_staff PRIMARY KEY (key);
ALTER TABLE ONLY public.staff_session
    ADD CONSTRAINT pk_staff_session PRIMARY KEY (key);
ALTER TABLE ONLY public.token
    ADD CONSTRAINT pk_token PRIMARY KEY (key);
ALTER TABLE ONLY public.unclaimed_token
    ADD CONSTRAINT pk_unclaimed_token PRIMARY KEY (token_key);
ALTER TABLE ONLY public.verified_code
    ADD CONSTRAINT pk_verified_code PRIMARY KEY (fingerprint);
ALTER TABLE ONLY public.verifier_task
    ADD CONSTRAINT pk_verifier_task PRIMARY KEY (key);
ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT uq_api_key_digest UNIQUE (digest);
ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT uq_api_key_name UNIQUE (name);
ALTER TABLE ONLY public.customer
    ADD CONSTRAINT uq_customer_contract_id UNIQUE (contract_id);
ALTER TABLE ONLY public.passkey
    ADD CONSTRAINT uq_passkey_credential_id UNIQUE (credential_id);
ALTER TABLE ONLY public.session
    ADD CONSTRAINT uq_session_digest UNIQUE (digest);
ALTER TABLE ONLY public.sign_on
    ADD CONSTRAINT uq_sign_on_issuer_subject UNIQUE (issuer, subject);
ALTER TABLE ONLY public.staff
    ADD CONSTRAINT uq_staff_customer_key UNIQUE (customer_key);
ALTER TABLE ONLY public.staff
    ADD CONSTRAINT uq_staff_link_digest UNIQUE (link_digest);
ALTER TABLE ONLY public.staff
    ADD CONSTRAINT uq_staff_name UNIQUE (name);
ALTER TABLE ONLY public.staff_session
    ADD CONSTRAINT uq_staff_session_digest UNIQUE (digest);
ALTER TABLE ONLY public.token
    ADD CONSTRAINT uq_token_token_id UNIQUE (token_id);
CREATE INDEX ix_approval_state ON public.approval USING btree (state, key);
CREATE INDEX ix_audit_customer ON public.audit USING btree (customer) WHERE (substr(event, 1, 6) <> ALL (ARRAY['login.'::text, 'looked'::text]));
CREATE INDEX ix_audit_stretch_last ON public.audit_stretch USING btree (last);
CREATE INDEX ix_binding_token_key ON public.binding USING btree (token_key);
CREATE INDEX ix_challenge_customer_key ON public.challenge USING btree (customer_key);
CREATE INDEX ix_challenge_expires_at ON public.challenge USING btree (expires_at);
CREATE INDEX ix_customer_contract_id_locked ON public.customer USING btree (contract_id) WHERE (locked_at IS NOT NULL);
CREATE INDEX ix_customer_locked_at ON public.customer USING btree (locked_at) WHERE (locked_at IS NOT NULL);
CREATE INDEX ix_customer_otp_use_contract_id ON public.customer USING btree (otp_use, contract_id);
CREATE INDEX ix_file_import_state ON public.file_import USING btree (state, key);
CREATE INDEX ix_issuance_key_token_key ON public.issuance_key USING btree (token_key);
CREATE INDEX ix_kept_answer_expires_at ON public.kept_answer USING btree (expires_at);
CREATE INDEX ix_outbox_state ON public.outbox USING btree (state, next_at);
CREATE INDEX ix_passkey_staff_key ON public.passkey USING btree (staff_key);
CREATE INDEX ix_reservation_expires_at ON public.reservation USING btree (expires_at);
CREATE INDEX ix_reservation_session_key ON public.reservation USING btree (session_key);
CREATE INDEX ix_seal_until_id ON public.seal USING btree (until_id);
CREATE INDEX ix_session_customer_key ON public.session USING btree (customer_key);
CREATE INDEX ix_session_expires_at ON public.session USING btree (expires_at);
CREATE INDEX ix_staff_session_staff_key ON public.staff_session USING btree (staff_key);
CREATE INDEX ix_token_drift ON public.token USING btree (token_id) WHERE ((drift < '-2'::integer) OR (drift > 2));
CREATE INDEX ix_token_state_token_id ON public.token USING btree (state, token_id);
CREATE INDEX ix_unclaimed_token_origin_token_key ON public.unclaimed_token USING btree (origin, token_key);
CREATE INDEX ix_verified_code_expires_at ON public.verified_code USING btree (expires_at);
CREATE INDEX ix_verifier_task_next_at ON public.verifier_task USING btree (next_at);
CREATE TRIGGER sekisho_binding_ended AFTER DELETE ON public.binding FOR EACH ROW EXECUTE FUNCTION public.sekisho_renew_token();
CREATE TRIGGER sekisho_customer_changed AFTER UPDATE ON public.customer FOR EACH ROW WHEN (((old.contract_id IS DISTINCT FROM new.contract_id) OR (old.otp_use IS DISTINCT FROM new.otp_use) OR (old.locked_at IS DISTINCT FROM new.locked_at) OR (old.attributes IS DISTINCT FROM new.attributes))) EXECUTE FUNCTION public.sekisho_renew_tokens();
ALTER TABLE ONLY public.acceptance
    ADD CONSTRAINT fk_acceptance_customer_key FOREIGN KEY (customer_key) REFERENCES public.customer(key);
ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT fk_api_key_made_by FOREIGN KEY (made_by) REFERENCES public.staff(key);
ALTER TABLE ONLY public.approval
    ADD CONSTRAINT fk_approval_asked_by FOREIGN KEY (asked_by) REFERENCES public.staff(key);
ALTER TABLE ONLY public.approval
    ADD CONSTRAINT fk_approval_customer_key FOREIGN KEY (customer_key) REFERENCES public.customer(key);
ALTER TABLE ONLY public.approval
    ADD CONSTRAINT fk_approval_decided_by FOREIGN KEY (decided_by) REFERENCES public.staff(key);
ALTER TABLE ONLY public.binding
    ADD CONSTRAINT fk_binding_customer_key FOREIGN KEY (customer_key) REFERENCES public.customer(key);
ALTER TABLE ONLY public.binding
    ADD CONSTRAINT fk_binding_token_key FOREIGN KEY (token_key) REFERENCES public.token(key);
ALTER TABLE ONLY public.file_import
    ADD CONSTRAINT fk_file_import_asked_by FOREIGN KEY (asked_by) REFERENCES public.staff(key);
ALTER TABLE ONLY public.file_piece
    ADD CONSTRAINT fk_file_piece_file_key FOREIGN KEY (file_key) REFERENCES public.file_import(key);
ALTER TABLE ONLY public.issuance_key
    ADD CONSTRAINT fk_issuance_key_token_key FOREIGN KEY (token_key) REFERENCES public.token(key);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT fk_outbox_customer_key FOREIGN KEY (customer_key) REFERENCES public.customer(key);
ALTER TABLE ONLY public.passkey
    ADD CONSTRAINT fk_passkey_staff_key FOREIGN KEY (staff_key) REFERENCES public.staff(key);
ALTER TABLE ONLY public.permit
    ADD CONSTRAINT fk_permit_customer_key FOREIGN KEY (customer_key) REFERENCES public.customer(key);
ALTER TABLE ONLY public.profile
    ADD CONSTRAINT fk_profile_customer_key FOREIGN KEY (customer_key) REFERENCES public.customer(key);
ALTER TABLE ONLY public.reservation
    ADD CONSTRAINT fk_reservation_customer_key FOREIGN KEY (customer_key) REFERENCES public.customer(key);
ALTER TABLE ONLY public.reservation
    ADD CONSTRAINT fk_reservation_token_key FOREIGN KEY (token_key) REFERENCES public.token(key);
ALTER TABLE ONLY public.search_term
    ADD CONSTRAINT fk_search_term_customer_key FOREIGN KEY (customer_key) REFERENCES public.customer(key);
ALTER TABLE ONLY public.session
    ADD CONSTRAINT fk_session_customer_key FOREIGN KEY (customer_key) REFERENCES public.customer(key);
ALTER TABLE ONLY public.sign_on
    ADD CONSTRAINT fk_sign_on_staff_key FOREIGN KEY (staff_key) REFERENCES public.staff(key);
ALTER TABLE ONLY public.staff
    ADD CONSTRAINT fk_staff_customer_key FOREIGN KEY (customer_key) REFERENCES public.customer(key);
ALTER TABLE ONLY public.staff_session
    ADD CONSTRAINT fk_staff_session_staff_key FOREIGN KEY (staff_key) REFERENCES public.staff(key);
ALTER TABLE ONLY public.unclaimed_token
    ADD CONSTRAINT fk_unclaimed_token_token_key FOREIGN KEY (token_key) REFERENCES public.token(key);
INSERT INTO public.alembic_version VALUES ('0021');
