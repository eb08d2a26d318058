"""The rules and the vocabulary of KeyLedger. Standard library only.

tenant      one customer, named by a UUID in canonical spelling
provider    one LLM vendor or server kind, from a closed table
credential  a tenant's API key for one provider, with the settings needed to use it; one stream of events each
secret      the API key in the clear; it lives for one call and is never stored
sealed      the secret encrypted and bound to the place where it may be used
version     number of an event within its stream, counted from 1
position    number of an event within the whole log, counted from 1 without a gap
record      one event as auditors see it; a leaf of the Merkle tree over the log
checkpoint  the size of the log and the root of its tree, signed
projection  a table computed from the log, which alone is authoritative
receipt     the part of an answer that says whose credential served it
"""
