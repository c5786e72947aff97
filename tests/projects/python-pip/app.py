import itsdangerous
print("signed:", itsdangerous.Signer("key").sign("text").decode())
