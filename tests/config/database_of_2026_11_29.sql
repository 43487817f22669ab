BEGIN TRANSACTION;
CREATE TABLE "account_emailaddress" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "verified" bool NOT NULL, "primary" bool NOT NULL, "user_id" bigint NOT NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "email" varchar(254) NOT NULL);
CREATE TABLE "account_emailconfirmation" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "created" datetime NOT NULL, "sent" datetime NULL, "key" varchar(64) NOT NULL UNIQUE, "email_address_id" integer NOT NULL REFERENCES "account_emailaddress" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "annotate_answerrequest" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "responses_wanted" smallint unsigned NOT NULL CHECK ("responses_wanted" >= 0), "purpose" varchar(5) NOT NULL, "state" varchar(9) NOT NULL, "error" text NOT NULL, "created_at" datetime NOT NULL, "fulfilled_at" datetime NULL, "requested_by_id" bigint NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, "prompt_id" bigint NOT NULL REFERENCES "annotate_prompt" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "answer_request_1_to_16" CHECK (("responses_wanted" >= 1 AND "responses_wanted" <= 16)));
INSERT INTO "annotate_answerrequest" VALUES(1,2,'chat','fulfilled','','2026-11-29 03:00:06.156858',NULL,5,1,22);
INSERT INTO "annotate_answerrequest" VALUES(2,2,'chat','fulfilled','','2026-11-29 03:00:06.336646',NULL,6,1,28);
CREATE TABLE "annotate_answerrequest_responses" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "answerrequest_id" bigint NOT NULL REFERENCES "annotate_answerrequest" ("id") DEFERRABLE INITIALLY DEFERRED, "response_id" bigint NOT NULL REFERENCES "annotate_response" ("id") DEFERRABLE INITIALLY DEFERRED);
INSERT INTO "annotate_answerrequest_responses" VALUES(1,1,62);
INSERT INTO "annotate_answerrequest_responses" VALUES(2,1,63);
INSERT INTO "annotate_answerrequest_responses" VALUES(3,2,72);
INSERT INTO "annotate_answerrequest_responses" VALUES(4,2,71);
CREATE TABLE "annotate_assignment" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "state" varchar(9) NOT NULL, "lease_until" datetime NOT NULL, "seed" bigint NOT NULL, "presentation" text NOT NULL CHECK ((JSON_VALID("presentation") OR "presentation" IS NULL)), "draft" text NULL CHECK ((JSON_VALID("draft") OR "draft" IS NULL)), "skip_reason" varchar(500) NOT NULL, "created_at" datetime NOT NULL, "opened_at" datetime NULL, "ended_at" datetime NULL, "labeler_id" bigint NOT NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, "task_id" bigint NOT NULL REFERENCES "annotate_task" ("id") DEFERRABLE INITIALLY DEFERRED, "draft_page" varchar(36) NOT NULL, "draft_version" bigint unsigned NOT NULL CHECK ("draft_version" >= 0), CONSTRAINT "assignment_once" UNIQUE ("task_id", "labeler_id"));
INSERT INTO "annotate_assignment" VALUES(1,'submitted','2026-11-29 03:30:04.005288',6778492759260503359,'[14, 16, 13, 15]',NULL,'','2026-11-29 03:00:04.006513','2026-11-29 03:00:04.005281','2026-11-29 03:00:04.031545',5,1,4,'',1000);
INSERT INTO "annotate_assignment" VALUES(2,'submitted','2026-11-29 03:30:04.034822',4001080705421699242,'[18, 19, 20, 17]',NULL,'','2026-11-29 03:00:04.015961','2026-11-29 03:00:04.034814','2026-11-29 03:00:04.059303',5,1,5,'',1000);
INSERT INTO "annotate_assignment" VALUES(3,'skipped','2026-11-29 03:30:04.069387',2047282385728268680,'[3, 1, 4, 2]',NULL,'broken','2026-11-29 03:00:04.045983','2026-11-29 03:00:04.069377','2026-11-29 03:00:04.088067',5,1,1,'',0);
INSERT INTO "annotate_assignment" VALUES(4,'ahead','2026-11-29 03:30:04.078833',6698111265504640334,'[23, 22, 21, 24]',NULL,'','2026-11-29 03:00:04.079775',NULL,NULL,5,1,6,'',0);
INSERT INTO "annotate_assignment" VALUES(5,'submitted','2026-11-29 03:30:04.106767',19152005390318982,'[16, 15, 13, 14]',NULL,'','2026-11-29 03:00:04.107527','2026-11-29 03:00:04.106762','2026-11-29 03:00:04.127971',6,1,4,'',1000);
INSERT INTO "annotate_assignment" VALUES(6,'submitted','2026-11-29 03:30:04.136113',6346879819057061694,'[19, 20, 18, 17]',NULL,'','2026-11-29 03:00:04.111627','2026-11-29 03:00:04.136098','2026-11-29 03:00:04.158691',6,1,5,'',1000);
INSERT INTO "annotate_assignment" VALUES(7,'skipped','2026-11-29 03:30:04.167133',2811519900702708134,'[3, 1, 4, 2]',NULL,'broken','2026-11-29 03:00:04.143794','2026-11-29 03:00:04.167123','2026-11-29 03:00:04.179837',6,1,1,'',0);
INSERT INTO "annotate_assignment" VALUES(8,'ahead','2026-11-29 03:30:04.170812',5608732581580849153,'[21, 24, 23, 22]',NULL,'','2026-11-29 03:00:04.171550',NULL,NULL,6,1,6,'',0);
INSERT INTO "annotate_assignment" VALUES(9,'submitted','2026-11-29 04:00:06.049957',4718422440307506878,'[55, 56]',NULL,'','2026-11-29 03:00:06.050373',NULL,'2026-11-29 03:00:06.063988',5,1,19,'',1000);
INSERT INTO "annotate_assignment" VALUES(10,'current','2026-11-29 04:00:06.092427',5102878597764682142,'[57, 58]','{"comment": ["first draft"]}','','2026-11-29 03:00:06.092905',NULL,NULL,5,1,20,'',0);
INSERT INTO "annotate_assignment" VALUES(11,'expired','2026-11-29 04:00:06.097552',2535470251287240120,'[]','{"comment": ["first draft"]}','','2026-11-29 03:00:06.097753',NULL,NULL,5,1,21,'',0);
INSERT INTO "annotate_assignment" VALUES(12,'expired','2026-11-29 04:00:06.102824',5014883300363583124,'[]','{"comment": ["first draft"]}','','2026-11-29 03:00:06.103084',NULL,NULL,5,1,22,'',0);
INSERT INTO "annotate_assignment" VALUES(13,'expired','2026-11-29 04:00:06.110576',4393990094889058694,'[59]','{"comment": ["first draft"]}','','2026-11-29 03:00:06.110852',NULL,NULL,5,1,23,'',0);
INSERT INTO "annotate_assignment" VALUES(14,'expired','2026-11-29 04:00:06.121505',7466491356897100299,'[]','{"comment": ["first draft"]}','','2026-11-29 03:00:06.121832',NULL,NULL,5,1,24,'',0);
INSERT INTO "annotate_assignment" VALUES(15,'submitted','2026-11-29 04:00:06.196386',2014820966360117554,'[64, 65]',NULL,'','2026-11-29 03:00:06.196834',NULL,'2026-11-29 03:00:06.214693',6,1,26,'',1000);
INSERT INTO "annotate_assignment" VALUES(16,'current','2026-11-29 04:00:06.239934',9100103459015093482,'[66, 67]','{"comment": ["second draft"]}','','2026-11-29 03:00:06.240331',NULL,NULL,6,1,27,'',0);
INSERT INTO "annotate_assignment" VALUES(17,'expired','2026-11-29 04:00:06.253003',9117504923032849728,'[]','{"comment": ["second draft"]}','','2026-11-29 03:00:06.253277',NULL,NULL,6,1,28,'',0);
INSERT INTO "annotate_assignment" VALUES(18,'expired','2026-11-29 04:00:06.263716',9000816613096704256,'[]','{"comment": ["second draft"]}','','2026-11-29 03:00:06.264136',NULL,NULL,6,1,29,'',0);
INSERT INTO "annotate_assignment" VALUES(19,'expired','2026-11-29 04:00:06.284325',8543017026614957448,'[68]','{"comment": ["second draft"]}','','2026-11-29 03:00:06.284697',NULL,NULL,6,1,30,'',0);
INSERT INTO "annotate_assignment" VALUES(20,'expired','2026-11-29 04:00:06.293131',7922239160119139200,'[]','{"comment": ["second draft"]}','','2026-11-29 03:00:06.293432',NULL,NULL,6,1,31,'',0);
CREATE TABLE "annotate_auditevent" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "verb" varchar(60) NOT NULL, "subject_type" varchar(60) NOT NULL, "subject_id" varchar(60) NOT NULL, "detail" text NOT NULL CHECK ((JSON_VALID("detail") OR "detail" IS NULL)), "created_at" datetime NOT NULL, "actor_id" bigint NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED);
INSERT INTO "annotate_auditevent" VALUES(1,'project.created','project','1','{"name": "Kindness"}','2026-11-29 03:00:01.209147',1,1);
INSERT INTO "annotate_auditevent" VALUES(2,'project.created','project','2','{"name": "Elsewhere"}','2026-11-29 03:00:01.224563',1,2);
INSERT INTO "annotate_auditevent" VALUES(3,'project.edited','project','1','{"changes": {"overlap": [1, 2], "description": ["", "Answers that are kind to the reader."], "guidelines": 2, "rubric": 2}}','2026-11-29 03:00:03.711992',2,1);
INSERT INTO "annotate_auditevent" VALUES(4,'invitation.created','invitation','1','{"roles": ["labeler", "reviewer"]}','2026-11-29 03:00:03.727738',2,1);
INSERT INTO "annotate_auditevent" VALUES(5,'judgment.returned','judgment','1','{"comment": "Look at the third answer again."}','2026-11-29 03:00:04.189627',4,1);
INSERT INTO "annotate_auditevent" VALUES(6,'model.promoted','modelversion','1','{"model": "base 1"}','2026-11-29 03:00:04.232601',2,1);
INSERT INTO "annotate_auditevent" VALUES(7,'model.promoted','modelversion','2','{"model": "sft 1"}','2026-11-29 03:00:04.239931',2,1);
INSERT INTO "annotate_auditevent" VALUES(8,'project.created','project','3','{"name": "Blank"}','2026-11-29 03:00:05.606076',1,3);
INSERT INTO "annotate_auditevent" VALUES(9,'project.created','project','4','{"name": "Pair"}','2026-11-29 03:00:05.612850',1,4);
INSERT INTO "annotate_auditevent" VALUES(10,'project.created','project','5','{"name": "Slider"}','2026-11-29 03:00:05.619019',1,5);
INSERT INTO "annotate_auditevent" VALUES(11,'project.created','project','6','{"name": "Nine"}','2026-11-29 03:00:05.624417',1,6);
INSERT INTO "annotate_auditevent" VALUES(12,'project.created','project','7','{"name": "Upsetting"}','2026-11-29 03:00:05.805927',1,7);
INSERT INTO "annotate_auditevent" VALUES(13,'project.created','project','8','{"name": "Demonstrate"}','2026-11-29 03:00:05.869190',1,8);
INSERT INTO "annotate_auditevent" VALUES(14,'project.created','project','9','{"name": "Write-Prompt"}','2026-11-29 03:00:05.889703',1,9);
INSERT INTO "annotate_auditevent" VALUES(15,'project.created','project','10','{"name": "Rate"}','2026-11-29 03:00:05.906221',1,10);
INSERT INTO "annotate_auditevent" VALUES(16,'project.created','project','11','{"name": "Chat"}','2026-11-29 03:00:05.931798',1,11);
INSERT INTO "annotate_auditevent" VALUES(17,'project.created','project','12','{"name": "Gated"}','2026-11-29 03:00:05.959750',1,12);
INSERT INTO "annotate_auditevent" VALUES(18,'exam.item_added','task','18','{}','2026-11-29 03:00:06.017100',1,12);
INSERT INTO "annotate_auditevent" VALUES(19,'project.edited','project','12','{"changes": {"exam_threshold": [null, 0.5]}}','2026-11-29 03:00:06.024550',1,12);
CREATE TABLE "annotate_author" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "kind" varchar(7) NOT NULL, "name" varchar(200) NOT NULL, "created_at" datetime NOT NULL, "user_id" bigint NULL UNIQUE REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "author_model_has_no_account" CHECK (("kind" = 'person' OR "user_id" IS NULL)));
INSERT INTO "annotate_author" VALUES(1,'model','a-model','2026-11-29 03:00:03.741563',NULL);
CREATE TABLE "annotate_chatturn" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "number" smallint unsigned NOT NULL CHECK ("number" >= 0), "role" varchar(9) NOT NULL, "text" text NOT NULL, "offered" text NOT NULL CHECK ((JSON_VALID("offered") OR "offered" IS NULL)), "created_at" datetime NOT NULL, "assignment_id" bigint NOT NULL REFERENCES "annotate_assignment" ("id") DEFERRABLE INITIALLY DEFERRED, "request_id" bigint NULL REFERENCES "annotate_answerrequest" ("id") DEFERRABLE INITIALLY DEFERRED, "response_id" bigint NULL REFERENCES "annotate_response" ("id") DEFERRABLE INITIALLY DEFERRED, "judgment_id" bigint NULL UNIQUE REFERENCES "annotate_judgment" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "chat_turn_once" UNIQUE ("assignment_id", "number"), CONSTRAINT "chat_turn_answer_is_a_response" CHECK ((("response_id" IS NULL AND "role" = 'user') OR ("response_id" IS NOT NULL AND "role" = 'assistant'))));
CREATE TABLE "annotate_dataimport" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "file_name" varchar(200) NOT NULL, "state" varchar(8) NOT NULL, "token" char(32) NULL, "lease_until" datetime NULL, "rows_written" integer unsigned NOT NULL CHECK ("rows_written" >= 0), "report" text NOT NULL CHECK ((JSON_VALID("report") OR "report" IS NULL)), "created_at" datetime NOT NULL, "finished_at" datetime NULL, "created_by_id" bigint NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "annotate_demonstration" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "withdrawn_at" datetime NULL, "created_at" datetime NOT NULL, "prompt_id" bigint NOT NULL REFERENCES "annotate_prompt" ("id") DEFERRABLE INITIALLY DEFERRED, "response_id" bigint NOT NULL UNIQUE REFERENCES "annotate_response" ("id") DEFERRABLE INITIALLY DEFERRED, "assignment_id" bigint NULL REFERENCES "annotate_assignment" ("id") DEFERRABLE INITIALLY DEFERRED, "data_import" bigint unsigned NULL CHECK ("data_import" >= 0));
CREATE TABLE "annotate_examanswer" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "number" smallint unsigned NOT NULL CHECK ("number" >= 0), "presentation" text NOT NULL CHECK ((JSON_VALID("presentation") OR "presentation" IS NULL)), "gold_tiers" text NOT NULL CHECK ((JSON_VALID("gold_tiers") OR "gold_tiers" IS NULL)), "draft" text NULL CHECK ((JSON_VALID("draft") OR "draft" IS NULL)), "tiers" text NULL CHECK ((JSON_VALID("tiers") OR "tiers" IS NULL)), "hits" integer unsigned NOT NULL CHECK ("hits" >= 0), "total" integer unsigned NOT NULL CHECK ("total" >= 0), "answered_at" datetime NULL, "task_id" bigint NOT NULL REFERENCES "annotate_task" ("id") DEFERRABLE INITIALLY DEFERRED, "attempt_id" bigint NOT NULL REFERENCES "annotate_examattempt" ("id") DEFERRABLE INITIALLY DEFERRED, "draft_version" bigint unsigned NOT NULL CHECK ("draft_version" >= 0), CONSTRAINT "exam_answer_number_once" UNIQUE ("attempt_id", "number"), CONSTRAINT "exam_answer_task_once" UNIQUE ("attempt_id", "task_id"));
INSERT INTO "annotate_examanswer" VALUES(1,1,'[60, 61]','[[60], [61]]','{"comment": ["first draft"]}',NULL,0,0,NULL,25,1,0);
INSERT INTO "annotate_examanswer" VALUES(2,1,'[69, 70]','[[69], [70]]','{"comment": ["second draft"]}',NULL,0,0,NULL,32,2,0);
CREATE TABLE "annotate_examattempt" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "number" smallint unsigned NOT NULL CHECK ("number" >= 0), "threshold" real NOT NULL, "hits" integer unsigned NOT NULL CHECK ("hits" >= 0), "total" integer unsigned NOT NULL CHECK ("total" >= 0), "passed" bool NOT NULL, "annulled" bool NOT NULL, "created_at" datetime NOT NULL, "finished_at" datetime NULL, "labeler_id" bigint NOT NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, "waived_by_id" bigint NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED);
INSERT INTO "annotate_examattempt" VALUES(1,1,0.5,0,0,0,0,'2026-11-29 03:00:06.151973',NULL,5,1,NULL);
INSERT INTO "annotate_examattempt" VALUES(2,1,0.5,0,0,0,0,'2026-11-29 03:00:06.332637',NULL,6,1,NULL);
CREATE TABLE "annotate_guidelines" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "version" integer unsigned NOT NULL CHECK ("version" >= 0), "text" text NOT NULL, "created_at" datetime NOT NULL, "created_by_id" bigint NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "guidelines_version_once" UNIQUE ("project_id", "version"));
INSERT INTO "annotate_guidelines" VALUES(1,1,'Rank by **kindness**.','2026-11-29 03:00:01.203786',1,1);
INSERT INTO "annotate_guidelines" VALUES(2,1,'','2026-11-29 03:00:01.221470',1,2);
INSERT INTO "annotate_guidelines" VALUES(3,2,'# Be kind

Rank by **kindness**, then by truth.

- short words
- no scorn
','2026-11-29 03:00:03.710632',2,1);
INSERT INTO "annotate_guidelines" VALUES(4,9,'# Be kind

Rank by **truth**, then by kindness.
','2026-11-29 03:00:03.720020',NULL,1);
INSERT INTO "annotate_guidelines" VALUES(5,1,'','2026-11-29 03:00:05.604057',1,3);
INSERT INTO "annotate_guidelines" VALUES(6,1,'','2026-11-29 03:00:05.611020',1,4);
INSERT INTO "annotate_guidelines" VALUES(7,1,'','2026-11-29 03:00:05.617392',1,5);
INSERT INTO "annotate_guidelines" VALUES(8,1,'','2026-11-29 03:00:05.623061',1,6);
INSERT INTO "annotate_guidelines" VALUES(9,1,'','2026-11-29 03:00:05.800147',1,7);
INSERT INTO "annotate_guidelines" VALUES(10,1,'','2026-11-29 03:00:05.862885',1,8);
INSERT INTO "annotate_guidelines" VALUES(11,1,'','2026-11-29 03:00:05.886365',1,9);
INSERT INTO "annotate_guidelines" VALUES(12,1,'','2026-11-29 03:00:05.900020',1,10);
INSERT INTO "annotate_guidelines" VALUES(13,1,'','2026-11-29 03:00:05.930571',1,11);
INSERT INTO "annotate_guidelines" VALUES(14,1,'','2026-11-29 03:00:05.958583',1,12);
CREATE TABLE "annotate_invitation" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "roles" text NOT NULL CHECK ((JSON_VALID("roles") OR "roles" IS NULL)), "label" varchar(150) NOT NULL, "token_hash" varchar(64) NOT NULL UNIQUE, "created_at" datetime NOT NULL, "expires_at" datetime NOT NULL, "taken_names" smallint unsigned NOT NULL CHECK ("taken_names" >= 0), "accepted_at" datetime NULL, "withdrawn_at" datetime NULL, "accepted_by_id" bigint NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "created_by_id" bigint NOT NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "invitation_accepted_by_somebody" CHECK (("accepted_at" IS NULL OR "accepted_by_id" IS NOT NULL)));
INSERT INTO "annotate_invitation" VALUES(1,'["labeler", "reviewer"]','Nora, from Monday','1fddd339dada270c9e556a785d5cfa989fa16bb23d567e41e7154b4d07b99c0d','2026-11-29 03:00:03.727218','2026-12-06 03:00:03.726837',0,NULL,NULL,NULL,2,1);
INSERT INTO "annotate_invitation" VALUES(2,'["labeler"]','first label','820f09260b966ff74858ec5395f7fdbac3905bff211b1c25bcea651bc6dbf239','2026-11-29 03:00:06.178339','2026-11-30 03:00:06.178166',0,NULL,NULL,NULL,5,1);
INSERT INTO "annotate_invitation" VALUES(3,'["labeler"]','second label','b1af1de4f919d7e747c9127bd1bf1be45266b4feef9fa4e57f5560f6c0d40dd9','2026-11-29 03:00:06.350849','2026-11-30 03:00:06.350598',0,NULL,NULL,NULL,6,1);
CREATE TABLE "annotate_judgment" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "surplus" bool NOT NULL, "created_at" datetime NOT NULL, "assignment_id" bigint NOT NULL UNIQUE REFERENCES "annotate_assignment" ("id") DEFERRABLE INITIALLY DEFERRED, "labeler_id" bigint NOT NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "latest_id" bigint NULL UNIQUE REFERENCES "annotate_judgmentrevision" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, "task_id" bigint NOT NULL REFERENCES "annotate_task" ("id") DEFERRABLE INITIALLY DEFERRED, "data_import" bigint unsigned NULL CHECK ("data_import" >= 0));
INSERT INTO "annotate_judgment" VALUES(1,0,'2026-11-29 03:00:04.030514',1,5,1,1,4,NULL);
INSERT INTO "annotate_judgment" VALUES(2,0,'2026-11-29 03:00:04.058569',2,5,2,1,5,NULL);
INSERT INTO "annotate_judgment" VALUES(3,0,'2026-11-29 03:00:04.127184',5,6,3,1,4,NULL);
INSERT INTO "annotate_judgment" VALUES(4,0,'2026-11-29 03:00:04.157948',6,6,4,1,5,NULL);
INSERT INTO "annotate_judgment" VALUES(5,0,'2026-11-29 03:00:06.063064',9,5,5,1,19,NULL);
INSERT INTO "annotate_judgment" VALUES(6,0,'2026-11-29 03:00:06.213664',15,6,6,1,26,NULL);
CREATE TABLE "annotate_judgmentacceptance" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "created_at" datetime NOT NULL, "judgment_id" bigint NOT NULL REFERENCES "annotate_judgment" ("id") DEFERRABLE INITIALLY DEFERRED, "reviewer_id" bigint NOT NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "revision_id" bigint NOT NULL UNIQUE REFERENCES "annotate_judgmentrevision" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "annotate_judgmentreturn" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "comment" text NOT NULL, "created_at" datetime NOT NULL, "judgment_id" bigint NOT NULL REFERENCES "annotate_judgment" ("id") DEFERRABLE INITIALLY DEFERRED, "reviewer_id" bigint NOT NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "revision_id" bigint NOT NULL REFERENCES "annotate_judgmentrevision" ("id") DEFERRABLE INITIALLY DEFERRED);
INSERT INTO "annotate_judgmentreturn" VALUES(1,'Look at the third answer again.','2026-11-29 03:00:04.188895',1,4,1);
CREATE TABLE "annotate_judgmentrevision" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "number" integer unsigned NOT NULL CHECK ("number" >= 0), "client_id" char(32) NOT NULL, "tiers" text NOT NULL CHECK ((JSON_VALID("tiers") OR "tiers" IS NULL)), "all_unacceptable" bool NOT NULL, "ratings" text NOT NULL CHECK ((JSON_VALID("ratings") OR "ratings" IS NULL)), "flags" text NOT NULL CHECK ((JSON_VALID("flags") OR "flags" IS NULL)), "margin" smallint unsigned NULL CHECK ("margin" >= 0), "comment" text NOT NULL, "seconds" real NULL, "source" varchar(5) NOT NULL, "created_at" datetime NOT NULL, "judgment_id" bigint NOT NULL REFERENCES "annotate_judgment" ("id") DEFERRABLE INITIALLY DEFERRED, "rubric_id" bigint NULL REFERENCES "annotate_rubric" ("id") DEFERRABLE INITIALLY DEFERRED, "content" text NOT NULL CHECK ((JSON_VALID("content") OR "content" IS NULL)), "notes" text NOT NULL CHECK ((JSON_VALID("notes") OR "notes" IS NULL)), "withdrawn" bool NOT NULL, CONSTRAINT "judgment_revision_once" UNIQUE ("judgment_id", "number"), CONSTRAINT "judgment_revision_client_once" UNIQUE ("judgment_id", "client_id"), CONSTRAINT "judgment_revision_seconds" CHECK (("seconds" IS NULL OR "seconds" >= 0.0)));
INSERT INTO "annotate_judgmentrevision" VALUES(1,1,'a45a5dd4be734895842b29fda670f95c','[[14], [13, 15], [16]]',0,'{}','{}',NULL,'The second explains more.',40.0,'human','2026-11-29 03:00:04.030936',1,3,'{}','{}',0);
INSERT INTO "annotate_judgmentrevision" VALUES(2,1,'b5bfa537facf49f788272a4094dab021','[[18], [17, 19], [20]]',0,'{}','{}',NULL,'The second explains more.',40.0,'human','2026-11-29 03:00:04.058874',2,3,'{}','{}',0);
INSERT INTO "annotate_judgmentrevision" VALUES(3,1,'9685757b51774f468156a11ac9f271a2','[[14], [13, 15], [16]]',0,'{}','{}',NULL,'The second explains more.',40.0,'human','2026-11-29 03:00:04.127517',3,3,'{}','{}',0);
INSERT INTO "annotate_judgmentrevision" VALUES(4,1,'4ff6c14d80d8403aa218dd100f873256','[[18], [17, 19], [20]]',0,'{}','{}',NULL,'The second explains more.',40.0,'human','2026-11-29 03:00:04.158248',4,3,'{}','{}',0);
INSERT INTO "annotate_judgmentrevision" VALUES(5,1,'f2ecb5f450824984be5acf6cf404b532','[[55], [56]]',0,'{}','{}',NULL,'first comment',NULL,'human','2026-11-29 03:00:06.063433',5,3,'{}','{}',0);
INSERT INTO "annotate_judgmentrevision" VALUES(6,1,'cd75cfb63cb342a5936a2251f7e34fa1','[[64], [65]]',0,'{}','{}',NULL,'second comment',NULL,'human','2026-11-29 03:00:06.214078',6,3,'{}','{}',0);
CREATE TABLE "annotate_membership" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "role" varchar(10) NOT NULL, "created_at" datetime NOT NULL, "user_id" bigint NOT NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "membership_once" UNIQUE ("user_id", "project_id", "role"), CONSTRAINT "membership_role_known" CHECK ("role" IN ('labeler', 'reviewer', 'researcher', 'manager')));
INSERT INTO "annotate_membership" VALUES(3,'manager','2026-11-29 03:00:03.685404',2,1);
INSERT INTO "annotate_membership" VALUES(4,'researcher','2026-11-29 03:00:03.686401',3,1);
INSERT INTO "annotate_membership" VALUES(5,'reviewer','2026-11-29 03:00:03.688530',4,1);
INSERT INTO "annotate_membership" VALUES(6,'labeler','2026-11-29 03:00:03.692660',5,1);
INSERT INTO "annotate_membership" VALUES(7,'labeler','2026-11-29 03:00:03.696661',6,1);
INSERT INTO "annotate_membership" VALUES(8,'manager','2026-11-29 03:00:03.698683',7,2);
INSERT INTO "annotate_membership" VALUES(9,'manager','2026-11-29 03:00:05.605743',1,3);
INSERT INTO "annotate_membership" VALUES(10,'manager','2026-11-29 03:00:05.607006',2,3);
INSERT INTO "annotate_membership" VALUES(11,'labeler','2026-11-29 03:00:05.607565',5,3);
INSERT INTO "annotate_membership" VALUES(12,'manager','2026-11-29 03:00:05.612540',1,4);
INSERT INTO "annotate_membership" VALUES(13,'manager','2026-11-29 03:00:05.613846',2,4);
INSERT INTO "annotate_membership" VALUES(14,'labeler','2026-11-29 03:00:05.614432',5,4);
INSERT INTO "annotate_membership" VALUES(15,'manager','2026-11-29 03:00:05.618734',1,5);
INSERT INTO "annotate_membership" VALUES(16,'manager','2026-11-29 03:00:05.620133',2,5);
INSERT INTO "annotate_membership" VALUES(17,'labeler','2026-11-29 03:00:05.620709',5,5);
INSERT INTO "annotate_membership" VALUES(18,'manager','2026-11-29 03:00:05.624095',1,6);
INSERT INTO "annotate_membership" VALUES(19,'manager','2026-11-29 03:00:05.632832',2,6);
INSERT INTO "annotate_membership" VALUES(20,'labeler','2026-11-29 03:00:05.639947',5,6);
INSERT INTO "annotate_membership" VALUES(21,'manager','2026-11-29 03:00:05.805369',1,7);
INSERT INTO "annotate_membership" VALUES(22,'manager','2026-11-29 03:00:05.816962',2,7);
INSERT INTO "annotate_membership" VALUES(23,'labeler','2026-11-29 03:00:05.820948',5,7);
INSERT INTO "annotate_membership" VALUES(24,'manager','2026-11-29 03:00:05.868377',1,8);
INSERT INTO "annotate_membership" VALUES(25,'manager','2026-11-29 03:00:05.871918',2,8);
INSERT INTO "annotate_membership" VALUES(26,'labeler','2026-11-29 03:00:05.876711',5,8);
INSERT INTO "annotate_membership" VALUES(27,'manager','2026-11-29 03:00:05.889463',1,9);
INSERT INTO "annotate_membership" VALUES(28,'manager','2026-11-29 03:00:05.890493',2,9);
INSERT INTO "annotate_membership" VALUES(29,'labeler','2026-11-29 03:00:05.896705',5,9);
INSERT INTO "annotate_membership" VALUES(30,'manager','2026-11-29 03:00:05.905962',1,10);
INSERT INTO "annotate_membership" VALUES(31,'manager','2026-11-29 03:00:05.908532',2,10);
INSERT INTO "annotate_membership" VALUES(32,'labeler','2026-11-29 03:00:05.910755',5,10);
INSERT INTO "annotate_membership" VALUES(33,'manager','2026-11-29 03:00:05.931541',1,11);
INSERT INTO "annotate_membership" VALUES(34,'manager','2026-11-29 03:00:05.937120',2,11);
INSERT INTO "annotate_membership" VALUES(35,'labeler','2026-11-29 03:00:05.944745',5,11);
INSERT INTO "annotate_membership" VALUES(36,'manager','2026-11-29 03:00:05.959496',1,12);
INSERT INTO "annotate_membership" VALUES(37,'manager','2026-11-29 03:00:05.964799',2,12);
INSERT INTO "annotate_membership" VALUES(38,'labeler','2026-11-29 03:00:05.968791',5,12);
CREATE TABLE "annotate_project" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "slug" varchar(60) NOT NULL UNIQUE, "name" varchar(120) NOT NULL, "description" varchar(500) NOT NULL, "language" varchar(10) NOT NULL, "responses_per_task" smallint unsigned NOT NULL CHECK ("responses_per_task" >= 0), "overlap" smallint unsigned NOT NULL CHECK ("overlap" >= 0), "task_kinds" text NOT NULL CHECK ((JSON_VALID("task_kinds") OR "task_kinds" IS NULL)), "lease_minutes" smallint unsigned NOT NULL CHECK ("lease_minutes" >= 0), "queue_epoch" bigint unsigned NOT NULL CHECK ("queue_epoch" >= 0), "pseudonym_key" varchar(64) NOT NULL, "archived_at" datetime NULL, "created_at" datetime NOT NULL, "mask_model_names" bool NOT NULL, "margin_input" varchar(6) NOT NULL, "exam_attempts" smallint unsigned NOT NULL CHECK ("exam_attempts" >= 0), "exam_threshold" real NULL, "sensitive_rule" varchar(10) NOT NULL, CONSTRAINT "project_k_2_to_9" CHECK (("responses_per_task" >= 2 AND "responses_per_task" <= 9)), CONSTRAINT "project_overlap_at_least_1" CHECK ("overlap" >= 1));
INSERT INTO "annotate_project" VALUES(1,'kindness','Kindness','Answers that are kind to the reader.','en',4,2,'["compare"]',30,10,'4ad541b1b7f82c352a8ff74e1f3075d4',NULL,'2026-11-29 03:00:01.196876',0,'levels',2,NULL,'warn');
INSERT INTO "annotate_project" VALUES(2,'elsewhere','Elsewhere','','en',4,1,'["compare"]',30,0,'1871720488afa6529bdeed4d3868165d',NULL,'2026-11-29 03:00:01.214974',0,'levels',2,NULL,'warn');
INSERT INTO "annotate_project" VALUES(3,'blank','Blank','','en',4,1,'["compare"]',30,0,'2231481cbe6e0693fe37c804f3d59c72',NULL,'2026-11-29 03:00:05.602800',0,'levels',2,NULL,'warn');
INSERT INTO "annotate_project" VALUES(4,'pair','Pair','','en',2,1,'["compare"]',30,1,'78b7ed3109cf0fa58bcbac6126947482',NULL,'2026-11-29 03:00:05.609649',0,'levels',2,NULL,'warn');
INSERT INTO "annotate_project" VALUES(5,'slider','Slider','','en',2,1,'["compare"]',30,1,'82b4fb55a0308c7b69803af227716efe',NULL,'2026-11-29 03:00:05.615960',0,'slider',2,NULL,'warn');
INSERT INTO "annotate_project" VALUES(6,'nine','Nine','','en',9,1,'["compare"]',30,1,'7c2c077656d67927d86abcb95dfa916b',NULL,'2026-11-29 03:00:05.621978',0,'levels',2,NULL,'warn');
INSERT INTO "annotate_project" VALUES(7,'upsetting','Upsetting','','en',4,1,'["compare"]',30,1,'9ebeae95eabe2b95d7417fe040e16874',NULL,'2026-11-29 03:00:05.798177',0,'levels',2,NULL,'warn');
INSERT INTO "annotate_project" VALUES(8,'demonstrate','Demonstrate','','en',4,1,'["demonstrate"]',30,0,'c08327c1b4589528541142528cf05b3a',NULL,'2026-11-29 03:00:05.861544',0,'levels',2,NULL,'warn');
INSERT INTO "annotate_project" VALUES(9,'write-prompt','Write-Prompt','','en',4,1,'["write_prompt"]',30,0,'cc2e330583df178811093d5d7e9e2955',NULL,'2026-11-29 03:00:05.885253',0,'levels',2,NULL,'warn');
INSERT INTO "annotate_project" VALUES(10,'rate','Rate','','en',4,1,'["rate"]',30,0,'a2458755e6b89849e1f68346fd7ad246',NULL,'2026-11-29 03:00:05.899038',0,'levels',2,NULL,'warn');
INSERT INTO "annotate_project" VALUES(11,'chat','Chat','','en',4,1,'["chat"]',30,0,'f1cbf0963d0d797b7477308826fade26',NULL,'2026-11-29 03:00:05.929439',0,'levels',2,NULL,'warn');
INSERT INTO "annotate_project" VALUES(12,'gated','Gated','','en',4,1,'["compare"]',30,2,'86b44bc93211cfbbe3cf037141eb707b',NULL,'2026-11-29 03:00:05.957446',0,'levels',2,0.5,'warn');
CREATE TABLE "annotate_prompt" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "messages" text NOT NULL CHECK ((JSON_VALID("messages") OR "messages" IS NULL)), "kind" varchar(10) NOT NULL, "use_case" varchar(16) NOT NULL, "language" varchar(10) NOT NULL, "source" varchar(200) NOT NULL, "external_id" varchar(200) NOT NULL, "sensitive" bool NOT NULL, "split" varchar(10) NOT NULL, "content_hash" varchar(64) NOT NULL, "created_at" datetime NOT NULL, "author_id" bigint NULL REFERENCES "annotate_author" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, "opening_id" bigint NULL REFERENCES "annotate_prompt" ("id") DEFERRABLE INITIALLY DEFERRED, "data_import" bigint unsigned NULL CHECK ("data_import" >= 0), CONSTRAINT "prompt_once_per_project" UNIQUE ("project_id", "content_hash"), CONSTRAINT "prompt_split_known" CHECK ("split" IN ('train', 'validation', 'test')));
INSERT INTO "annotate_prompt" VALUES(1,'[{"role": "user", "content": "How do I boil 1 eggs?"}]','plain','other','en','','',0,'train','6337c0e8192b9eca8c9e5cd0e75637b6cc54ec473bbd4ed7740ceb1aac241476','2026-11-29 03:00:03.736596',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(2,'[{"role": "user", "content": "How do I boil 2 eggs?"}]','plain','other','en','','',0,'validation','b4b9c50ffc223b7690bc24d8f7ffe5d69cd42a23a84f335937abaa92ca49ce9d','2026-11-29 03:00:03.766663',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(3,'[{"role": "user", "content": "How do I boil 3 eggs?"}]','plain','other','en','','',0,'validation','25635abf5fa98de2b0f5516e8399e1dd9e7efd267d2b7b82047a46006df59b66','2026-11-29 03:00:03.792996',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(4,'[{"role": "user", "content": "How do I boil 4 eggs?"}]','plain','other','en','','',0,'train','c03080a0a5623db06cb7bd83986b924a431e53a941b169eea884678f48861042','2026-11-29 03:00:03.841089',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(5,'[{"role": "user", "content": "How do I boil 5 eggs?"}]','plain','other','en','','',0,'train','815202609bf4feef95018f9aedf1214160c65240379bc8824af39b158200139b','2026-11-29 03:00:03.864866',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(6,'[{"role": "user", "content": "How do I boil 6 eggs?"}]','plain','other','en','','',0,'train','b22ebda8ca1a2de2e66fd2420570e49615d6dc280a8fa4f18001bcd50b35f3ba','2026-11-29 03:00:03.892296',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(7,'[{"role": "user", "content": "How do I boil 7 eggs?"}]','plain','other','en','','',0,'train','59a25963161be4d846e84a5b59614de80a2a0fa2231ef2ba2a8b7ccaa9b37fff','2026-11-29 03:00:03.937086',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(8,'[{"role": "user", "content": "How do I boil 8 eggs?"}]','plain','other','en','','',0,'train','30e0ff93af3e6be977bbe10f451b1c78c121932e6dfb2a19b3cd8b3ff259c3c4','2026-11-29 03:00:03.965081',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(9,'[{"role": "user", "content": "How do I boil an egg?"}]','plain','other','en','','',0,'train','270621e718e018ccdaad0e91cf25bf25d6c2aa7fad676e7c10a30be50c627c4b','2026-11-29 03:00:05.646544',NULL,4,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(10,'[{"role": "user", "content": "How do I boil an egg?"}]','plain','other','en','','',0,'train','270621e718e018ccdaad0e91cf25bf25d6c2aa7fad676e7c10a30be50c627c4b','2026-11-29 03:00:05.681309',NULL,5,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(11,'[{"role": "user", "content": "How do I boil an egg?"}]','plain','other','en','','',0,'train','270621e718e018ccdaad0e91cf25bf25d6c2aa7fad676e7c10a30be50c627c4b','2026-11-29 03:00:05.708664',NULL,6,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(12,'[{"role": "user", "content": "How do I boil an egg?"}]','plain','other','en','','',1,'train','270621e718e018ccdaad0e91cf25bf25d6c2aa7fad676e7c10a30be50c627c4b','2026-11-29 03:00:05.825024',NULL,7,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(13,'[{"role": "system", "content": "Name the capital."}, {"role": "user", "content": "France"}, {"role": "assistant", "content": "Paris"}, {"role": "user", "content": "Peru"}, {"role": "assistant", "content": "Lima"}, {"role": "user", "content": "Japan"}]','few_shot','other','','','',0,'train','606618bd1da44a2ce4080825597fc017279c22b68e495431e026bd884a53f56b','2026-11-29 03:00:05.879648',NULL,8,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(14,'[{"role": "user", "content": "How do I boil an egg?"}]','plain','other','en','','',0,'train','270621e718e018ccdaad0e91cf25bf25d6c2aa7fad676e7c10a30be50c627c4b','2026-11-29 03:00:05.917065',NULL,10,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(15,'[{"role": "user", "content": "How do I boil an egg?"}]','plain','other','en','','',0,'train','270621e718e018ccdaad0e91cf25bf25d6c2aa7fad676e7c10a30be50c627c4b','2026-11-29 03:00:05.949164',NULL,11,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(16,'[{"role": "user", "content": "How do I boil an egg?"}]','plain','other','en','','',0,'train','270621e718e018ccdaad0e91cf25bf25d6c2aa7fad676e7c10a30be50c627c4b','2026-11-29 03:00:05.972686',NULL,12,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(17,'[{"role": "user", "content": "Which comes first?"}]','plain','other','en','','',0,'train','db32660b965dd1d9497934760d24f9d69918ea0f82119c938ffa1c259e2dcb69','2026-11-29 03:00:05.993403',NULL,12,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(18,'[{"role": "user", "content": "first b07ffd57?"}]','plain','other','en','','',0,'train','de810eae8120b8e614320b6cc8dee56f49b4c3db5f26a5bd7c9311df7c099157','2026-11-29 03:00:06.029809',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(19,'[{"role": "user", "content": "first 16954f05?"}]','plain','other','en','','',0,'train','644308f3279544a49006c67fa5049f54daa3f53a65a4f7161ffb5b4b10a43009','2026-11-29 03:00:06.069997',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(20,'[{"role": "user", "content": "first 0cf3fe59?"}]','plain','other','en','','',0,'train','d48405dfb1be650c16d77e190db385522d2bbb6af92728549806975ae21bb62a','2026-11-29 03:00:06.095055',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(21,'[{"role": "user", "content": "first b3df1087?"}]','plain','other','en','','',0,'test','9c325016b3a529a9db0d3b6f2cf218e0118b8fa43d6df75bb06f1b9f51aa19cb','2026-11-29 03:00:06.104019',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(22,'[{"role": "user", "content": "first f93ddb90?"}]','plain','other','en','','',0,'train','333da413534cf71222116466cb9af4fc3af62339cbd316f9be5994f56dc86ca9','2026-11-29 03:00:06.111826',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(23,'[{"role": "user", "content": "first exam?"}]','plain','other','en','','',0,'validation','b5062d350507c31981bf66df17df24a9bf7188988ef26dfe9b2f87097f727cb6','2026-11-29 03:00:06.140875',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(24,'[{"role": "user", "content": "second 6b5598db?"}]','plain','other','en','','',0,'train','86a285ebb84f1285c0252e0a82daff8e23394efb79931cd8b06d7334e4527947','2026-11-29 03:00:06.180963',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(25,'[{"role": "user", "content": "second 54a9911e?"}]','plain','other','en','','',0,'train','8bb9f051438c5a028d8c35982fa4641627ec185ba3600134834044de099d311c','2026-11-29 03:00:06.221106',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(26,'[{"role": "user", "content": "second 7e61f166?"}]','plain','other','en','','',0,'validation','e9df95b50c39e045ee6ada6759d40739e8cc124841efe65e4e102f88f6eabcd0','2026-11-29 03:00:06.249124',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(27,'[{"role": "user", "content": "second 9e3acaaa?"}]','plain','other','en','','',0,'train','1ac082ab6cc64a5c27dd95704e0fc3e7949b64c83c38af9cd2e5f2eb6edef609','2026-11-29 03:00:06.269090',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(28,'[{"role": "user", "content": "second 63c21d7e?"}]','plain','other','en','','',0,'train','d3bc8f5e32258514df4905ff04646fd0af8b52dafc68ac16f756167d569dc409','2026-11-29 03:00:06.286201',NULL,1,NULL,NULL);
INSERT INTO "annotate_prompt" VALUES(29,'[{"role": "user", "content": "second exam?"}]','plain','other','en','','',0,'train','e847089d7012b9b6c9b4e0f0a05469197a6dc770093c78535bfe5e1678f829d5','2026-11-29 03:00:06.314632',NULL,1,NULL,NULL);
CREATE TABLE "annotate_promptchange" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "sensitive" bool NOT NULL, "external_id" varchar(200) NOT NULL, "data_import_id" bigint NOT NULL REFERENCES "annotate_dataimport" ("id") DEFERRABLE INITIALLY DEFERRED, "prompt_id" bigint NOT NULL REFERENCES "annotate_prompt" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "annotate_queuecursor" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "position" bigint NOT NULL, "epoch" bigint unsigned NOT NULL CHECK ("epoch" >= 0), "labeler_id" bigint NOT NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, "kind" varchar(12) NOT NULL, CONSTRAINT "queue_cursor_once" UNIQUE ("labeler_id", "project_id"));
INSERT INTO "annotate_queuecursor" VALUES(1,43168994625701,8,5,1,'');
INSERT INTO "annotate_queuecursor" VALUES(2,43168994625701,9,6,1,'');
CREATE TABLE "annotate_report" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "reason" varchar(9) NOT NULL, "note" text NOT NULL, "created_at" datetime NOT NULL, "resolved_at" datetime NULL, "assignment_id" bigint NOT NULL REFERENCES "annotate_assignment" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, "resolved_by_id" bigint NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED);
INSERT INTO "annotate_report" VALUES(1,'harmful','The answer insults.','2026-11-29 03:00:04.198825',NULL,8,1,NULL);
INSERT INTO "annotate_report" VALUES(2,'broken','first note','2026-11-29 03:00:06.176762',NULL,9,1,NULL);
INSERT INTO "annotate_report" VALUES(3,'broken','second note','2026-11-29 03:00:06.345533',NULL,15,1,NULL);
CREATE TABLE "annotate_response" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "text" text NOT NULL, "sampling" text NOT NULL CHECK ((JSON_VALID("sampling") OR "sampling" IS NULL)), "seed" bigint NULL, "finish_reason" varchar(8) NOT NULL, "created_at" datetime NOT NULL, "author_id" bigint NOT NULL REFERENCES "annotate_author" ("id") DEFERRABLE INITIALLY DEFERRED, "edited_from_id" bigint NULL REFERENCES "annotate_response" ("id") DEFERRABLE INITIALLY DEFERRED, "prompt_id" bigint NOT NULL REFERENCES "annotate_prompt" ("id") DEFERRABLE INITIALLY DEFERRED, "data_import" bigint unsigned NULL CHECK ("data_import" >= 0));
INSERT INTO "annotate_response" VALUES(1,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:03.742848',1,NULL,1,NULL);
INSERT INTO "annotate_response" VALUES(2,'As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.','{}',NULL,'eos','2026-11-29 03:00:03.746985',1,NULL,1,NULL);
INSERT INTO "annotate_response" VALUES(3,'把鸡蛋放进**冷水**里，煮开后关火，焖十分钟，再放入冰水。','{}',NULL,'eos','2026-11-29 03:00:03.752990',1,NULL,1,NULL);
INSERT INTO "annotate_response" VALUES(4,'ضع البيض في ماء بارد ثم اغله عشر دقائق.','{}',NULL,'eos','2026-11-29 03:00:03.755423',1,NULL,1,NULL);
INSERT INTO "annotate_response" VALUES(5,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:03.773533',1,NULL,2,NULL);
INSERT INTO "annotate_response" VALUES(6,'As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.','{}',NULL,'eos','2026-11-29 03:00:03.777120',1,NULL,2,NULL);
INSERT INTO "annotate_response" VALUES(7,'把鸡蛋放进**冷水**里，煮开后关火，焖十分钟，再放入冰水。','{}',NULL,'eos','2026-11-29 03:00:03.780809',1,NULL,2,NULL);
INSERT INTO "annotate_response" VALUES(8,'ضع البيض في ماء بارد ثم اغله عشر دقائق.','{}',NULL,'eos','2026-11-29 03:00:03.783565',1,NULL,2,NULL);
INSERT INTO "annotate_response" VALUES(9,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:03.803883',1,NULL,3,NULL);
INSERT INTO "annotate_response" VALUES(10,'As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.','{}',NULL,'eos','2026-11-29 03:00:03.812944',1,NULL,3,NULL);
INSERT INTO "annotate_response" VALUES(11,'把鸡蛋放进**冷水**里，煮开后关火，焖十分钟，再放入冰水。','{}',NULL,'eos','2026-11-29 03:00:03.820947',1,NULL,3,NULL);
INSERT INTO "annotate_response" VALUES(12,'ضع البيض في ماء بارد ثم اغله عشر دقائق.','{}',NULL,'eos','2026-11-29 03:00:03.823214',1,NULL,3,NULL);
INSERT INTO "annotate_response" VALUES(13,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:03.845673',1,NULL,4,NULL);
INSERT INTO "annotate_response" VALUES(14,'As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.','{}',NULL,'eos','2026-11-29 03:00:03.848732',1,NULL,4,NULL);
INSERT INTO "annotate_response" VALUES(15,'把鸡蛋放进**冷水**里，煮开后关火，焖十分钟，再放入冰水。','{}',NULL,'eos','2026-11-29 03:00:03.851016',1,NULL,4,NULL);
INSERT INTO "annotate_response" VALUES(16,'ضع البيض في ماء بارد ثم اغله عشر دقائق.','{}',NULL,'eos','2026-11-29 03:00:03.852703',1,NULL,4,NULL);
INSERT INTO "annotate_response" VALUES(17,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:03.867198',1,NULL,5,NULL);
INSERT INTO "annotate_response" VALUES(18,'As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.','{}',NULL,'eos','2026-11-29 03:00:03.875523',1,NULL,5,NULL);
INSERT INTO "annotate_response" VALUES(19,'把鸡蛋放进**冷水**里，煮开后关火，焖十分钟，再放入冰水。','{}',NULL,'eos','2026-11-29 03:00:03.880874',1,NULL,5,NULL);
INSERT INTO "annotate_response" VALUES(20,'ضع البيض في ماء بارد ثم اغله عشر دقائق.','{}',NULL,'eos','2026-11-29 03:00:03.884850',1,NULL,5,NULL);
INSERT INTO "annotate_response" VALUES(21,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:03.909652',1,NULL,6,NULL);
INSERT INTO "annotate_response" VALUES(22,'As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.','{}',NULL,'eos','2026-11-29 03:00:03.917012',1,NULL,6,NULL);
INSERT INTO "annotate_response" VALUES(23,'把鸡蛋放进**冷水**里，煮开后关火，焖十分钟，再放入冰水。','{}',NULL,'eos','2026-11-29 03:00:03.920911',1,NULL,6,NULL);
INSERT INTO "annotate_response" VALUES(24,'ضع البيض في ماء بارد ثم اغله عشر دقائق.','{}',NULL,'eos','2026-11-29 03:00:03.924927',1,NULL,6,NULL);
INSERT INTO "annotate_response" VALUES(25,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:03.941641',1,NULL,7,NULL);
INSERT INTO "annotate_response" VALUES(26,'As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.','{}',NULL,'eos','2026-11-29 03:00:03.944859',1,NULL,7,NULL);
INSERT INTO "annotate_response" VALUES(27,'把鸡蛋放进**冷水**里，煮开后关火，焖十分钟，再放入冰水。','{}',NULL,'eos','2026-11-29 03:00:03.953034',1,NULL,7,NULL);
INSERT INTO "annotate_response" VALUES(28,'ضع البيض في ماء بارد ثم اغله عشر دقائق.','{}',NULL,'eos','2026-11-29 03:00:03.955000',1,NULL,7,NULL);
INSERT INTO "annotate_response" VALUES(29,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:03.967665',1,NULL,8,NULL);
INSERT INTO "annotate_response" VALUES(30,'As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.','{}',NULL,'eos','2026-11-29 03:00:03.972953',1,NULL,8,NULL);
INSERT INTO "annotate_response" VALUES(31,'把鸡蛋放进**冷水**里，煮开后关火，焖十分钟，再放入冰水。','{}',NULL,'eos','2026-11-29 03:00:03.977024',1,NULL,8,NULL);
INSERT INTO "annotate_response" VALUES(32,'ضع البيض في ماء بارد ثم اغله عشر دقائق.','{}',NULL,'eos','2026-11-29 03:00:03.978523',1,NULL,8,NULL);
INSERT INTO "annotate_response" VALUES(33,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:05.648874',1,NULL,9,NULL);
INSERT INTO "annotate_response" VALUES(34,'As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.','{}',NULL,'eos','2026-11-29 03:00:05.657107',1,NULL,9,NULL);
INSERT INTO "annotate_response" VALUES(35,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:05.692661',1,NULL,10,NULL);
INSERT INTO "annotate_response" VALUES(36,'As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.','{}',NULL,'eos','2026-11-29 03:00:05.697111',1,NULL,10,NULL);
INSERT INTO "annotate_response" VALUES(37,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:05.719024',1,NULL,11,NULL);
INSERT INTO "annotate_response" VALUES(38,'As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.','{}',NULL,'eos','2026-11-29 03:00:05.729262',1,NULL,11,NULL);
INSERT INTO "annotate_response" VALUES(39,'把鸡蛋放进**冷水**里，煮开后关火，焖十分钟，再放入冰水。','{}',NULL,'eos','2026-11-29 03:00:05.733005',1,NULL,11,NULL);
INSERT INTO "annotate_response" VALUES(40,'ضع البيض في ماء بارد ثم اغله عشر دقائق.','{}',NULL,'eos','2026-11-29 03:00:05.736997',1,NULL,11,NULL);
INSERT INTO "annotate_response" VALUES(41,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:05.741375',1,NULL,11,NULL);
INSERT INTO "annotate_response" VALUES(42,'As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.','{}',NULL,'eos','2026-11-29 03:00:05.746292',1,NULL,11,NULL);
INSERT INTO "annotate_response" VALUES(43,'把鸡蛋放进**冷水**里，煮开后关火，焖十分钟，再放入冰水。','{}',NULL,'eos','2026-11-29 03:00:05.761402',1,NULL,11,NULL);
INSERT INTO "annotate_response" VALUES(44,'ضع البيض في ماء بارد ثم اغله عشر دقائق.','{}',NULL,'eos','2026-11-29 03:00:05.769415',1,NULL,11,NULL);
INSERT INTO "annotate_response" VALUES(45,'Nine.','{}',NULL,'eos','2026-11-29 03:00:05.777442',1,NULL,11,NULL);
INSERT INTO "annotate_response" VALUES(46,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:05.833798',1,NULL,12,NULL);
INSERT INTO "annotate_response" VALUES(47,'As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.','{}',NULL,'eos','2026-11-29 03:00:05.839938',1,NULL,12,NULL);
INSERT INTO "annotate_response" VALUES(48,'把鸡蛋放进**冷水**里，煮开后关火，焖十分钟，再放入冰水。','{}',NULL,'eos','2026-11-29 03:00:05.845168',1,NULL,12,NULL);
INSERT INTO "annotate_response" VALUES(49,'ضع البيض في ماء بارد ثم اغله عشر دقائق.','{}',NULL,'eos','2026-11-29 03:00:05.848936',1,NULL,12,NULL);
INSERT INTO "annotate_response" VALUES(50,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:05.921354',1,NULL,14,NULL);
INSERT INTO "annotate_response" VALUES(51,'Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \cdot \sqrt[3]{w}$ grams:

$$t = \frac{m^{2/3}}{\alpha} \ln\left(2 \frac{T_w - T_0}{T_w - T_y}\right)$$
','{}',NULL,'eos','2026-11-29 03:00:05.977723',1,NULL,16,NULL);
INSERT INTO "annotate_response" VALUES(52,'As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.','{}',NULL,'eos','2026-11-29 03:00:05.980879',1,NULL,16,NULL);
INSERT INTO "annotate_response" VALUES(53,'Hen.','{}',NULL,'eos','2026-11-29 03:00:05.997510',1,NULL,17,NULL);
INSERT INTO "annotate_response" VALUES(54,'Egg.','{}',NULL,'eos','2026-11-29 03:00:06.000304',1,NULL,17,NULL);
INSERT INTO "annotate_response" VALUES(55,'first answer 0','{}',NULL,'eos','2026-11-29 03:00:06.037585',1,NULL,18,NULL);
INSERT INTO "annotate_response" VALUES(56,'first answer 1','{}',NULL,'eos','2026-11-29 03:00:06.040822',1,NULL,18,NULL);
INSERT INTO "annotate_response" VALUES(57,'first answer 0','{}',NULL,'eos','2026-11-29 03:00:06.077503',1,NULL,19,NULL);
INSERT INTO "annotate_response" VALUES(58,'first answer 1','{}',NULL,'eos','2026-11-29 03:00:06.080909',1,NULL,19,NULL);
INSERT INTO "annotate_response" VALUES(59,'first answer 0','{}',NULL,'eos','2026-11-29 03:00:06.107480',1,NULL,21,NULL);
INSERT INTO "annotate_response" VALUES(60,'first known one','{}',NULL,'eos','2026-11-29 03:00:06.142743',1,NULL,23,NULL);
INSERT INTO "annotate_response" VALUES(61,'first known two','{}',NULL,'eos','2026-11-29 03:00:06.143324',1,NULL,23,NULL);
INSERT INTO "annotate_response" VALUES(62,'first offer one','{}',NULL,'eos','2026-11-29 03:00:06.165678',1,NULL,22,NULL);
INSERT INTO "annotate_response" VALUES(63,'first offer two','{}',NULL,'eos','2026-11-29 03:00:06.167779',1,NULL,22,NULL);
INSERT INTO "annotate_response" VALUES(64,'second answer 0','{}',NULL,'eos','2026-11-29 03:00:06.185358',1,NULL,24,NULL);
INSERT INTO "annotate_response" VALUES(65,'second answer 1','{}',NULL,'eos','2026-11-29 03:00:06.188903',1,NULL,24,NULL);
INSERT INTO "annotate_response" VALUES(66,'second answer 0','{}',NULL,'eos','2026-11-29 03:00:06.223981',1,NULL,25,NULL);
INSERT INTO "annotate_response" VALUES(67,'second answer 1','{}',NULL,'eos','2026-11-29 03:00:06.233066',1,NULL,25,NULL);
INSERT INTO "annotate_response" VALUES(68,'second answer 0','{}',NULL,'eos','2026-11-29 03:00:06.277031',1,NULL,27,NULL);
INSERT INTO "annotate_response" VALUES(69,'second known one','{}',NULL,'eos','2026-11-29 03:00:06.318084',1,NULL,29,NULL);
INSERT INTO "annotate_response" VALUES(70,'second known two','{}',NULL,'eos','2026-11-29 03:00:06.319161',1,NULL,29,NULL);
INSERT INTO "annotate_response" VALUES(71,'second offer one','{}',NULL,'eos','2026-11-29 03:00:06.338405',1,NULL,28,NULL);
INSERT INTO "annotate_response" VALUES(72,'second offer two','{}',NULL,'eos','2026-11-29 03:00:06.341328',1,NULL,28,NULL);
CREATE TABLE "annotate_rubric" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "version" integer unsigned NOT NULL CHECK ("version" >= 0), "criteria" text NOT NULL CHECK ((JSON_VALID("criteria") OR "criteria" IS NULL)), "flags" text NOT NULL CHECK ((JSON_VALID("flags") OR "flags" IS NULL)), "created_at" datetime NOT NULL, "created_by_id" bigint NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "rubric_version_once" UNIQUE ("project_id", "version"));
INSERT INTO "annotate_rubric" VALUES(1,1,'[]','[]','2026-11-29 03:00:01.206887',1,1);
INSERT INTO "annotate_rubric" VALUES(2,1,'[]','[]','2026-11-29 03:00:01.223387',1,2);
INSERT INTO "annotate_rubric" VALUES(3,2,'[{"name": "overall", "label": "Overall quality", "min": 1, "max": 7}]','[{"name": "hallucination", "label": "Makes things up"}, {"name": "opinion", "label": "Expresses an opinion"}]','2026-11-29 03:00:03.711703',2,1);
INSERT INTO "annotate_rubric" VALUES(4,1,'[]','[]','2026-11-29 03:00:05.605404',1,3);
INSERT INTO "annotate_rubric" VALUES(5,1,'[]','[]','2026-11-29 03:00:05.612243',1,4);
INSERT INTO "annotate_rubric" VALUES(6,1,'[]','[]','2026-11-29 03:00:05.618452',1,5);
INSERT INTO "annotate_rubric" VALUES(7,1,'[]','[]','2026-11-29 03:00:05.623884',1,6);
INSERT INTO "annotate_rubric" VALUES(8,1,'[]','[]','2026-11-29 03:00:05.804873',1,7);
INSERT INTO "annotate_rubric" VALUES(9,1,'[{"name": "overall", "label": "Overall quality", "min": 1, "max": 7}]','[{"name": "hallucination", "label": "Makes things up"}, {"name": "opinion", "label": "Expresses an opinion"}]','2026-11-29 03:00:05.863929',1,8);
INSERT INTO "annotate_rubric" VALUES(10,1,'[{"name": "overall", "label": "Overall quality", "min": 1, "max": 7}]','[{"name": "hallucination", "label": "Makes things up"}, {"name": "opinion", "label": "Expresses an opinion"}]','2026-11-29 03:00:05.889214',1,9);
INSERT INTO "annotate_rubric" VALUES(11,1,'[{"name": "overall", "label": "Overall quality", "min": 1, "max": 7}]','[{"name": "hallucination", "label": "Makes things up"}, {"name": "opinion", "label": "Expresses an opinion"}]','2026-11-29 03:00:05.905588',1,10);
INSERT INTO "annotate_rubric" VALUES(12,1,'[{"name": "overall", "label": "Overall quality", "min": 1, "max": 7}]','[{"name": "hallucination", "label": "Makes things up"}, {"name": "opinion", "label": "Expresses an opinion"}]','2026-11-29 03:00:05.931327',1,11);
INSERT INTO "annotate_rubric" VALUES(13,1,'[]','[]','2026-11-29 03:00:05.959291',1,12);
CREATE TABLE "annotate_snapshot" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "kind" varchar(14) NOT NULL, "format" varchar(20) NOT NULL, "filters" text NOT NULL CHECK ((JSON_VALID("filters") OR "filters" IS NULL)), "tie_policy" varchar(4) NOT NULL, "state" varchar(8) NOT NULL, "progress" real NOT NULL, "error" text NOT NULL, "folder" varchar(200) NOT NULL, "files" text NOT NULL CHECK ((JSON_VALID("files") OR "files" IS NULL)), "rows" integer unsigned NOT NULL CHECK ("rows" >= 0), "sha256" varchar(64) NOT NULL, "created_at" datetime NOT NULL, "finished_at" datetime NULL, "created_by_id" bigint NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, "builder" char(32) NULL, "lease_until" datetime NULL, CONSTRAINT "snapshot_ready_has_hash" CHECK ((NOT ("state" = 'ready') OR NOT ("sha256" = ''))));
INSERT INTO "annotate_snapshot" VALUES(1,'rankings','hone','{}','keep','ready',0.4,'','','{"train.jsonl": {"rows": 12, "bytes": 34567, "sha256": "0000000000000000000000000000000000000000000000000000000000000000"}}',12,'0000000000000000000000000000000000000000000000000000000000000000','2026-11-29 03:00:04.205091',NULL,2,1,NULL,NULL);
INSERT INTO "annotate_snapshot" VALUES(2,'rankings','hone','{}','keep','building',0.4,'','','{}',12,'0000000000000000000000000000000000000000000000000000000000000000','2026-11-29 03:00:04.208741',NULL,2,1,NULL,NULL);
INSERT INTO "annotate_snapshot" VALUES(3,'rankings','hone','{}','keep','pending',0.4,'','','{}',12,'0000000000000000000000000000000000000000000000000000000000000000','2026-11-29 03:00:04.212717',NULL,2,1,NULL,NULL);
INSERT INTO "annotate_snapshot" VALUES(4,'rankings','hone','{}','keep','failed',0.4,'The disk is full.','','{}',12,'0000000000000000000000000000000000000000000000000000000000000000','2026-11-29 03:00:04.216811',NULL,2,1,NULL,NULL);
INSERT INTO "annotate_snapshot" VALUES(5,'rankings','hone','{}','keep','ready',0.0,'','','{"x.jsonl": {"rows": 1, "bytes": 1, "sha256": "0000000000000000000000000000000000000000000000000000000000000000"}}',0,'0000000000000000000000000000000000000000000000000000000000000000','2026-11-29 03:00:06.177757',NULL,NULL,1,NULL,NULL);
INSERT INTO "annotate_snapshot" VALUES(6,'rankings','hone','{}','keep','ready',0.0,'','','{"x.jsonl": {"rows": 1, "bytes": 1, "sha256": "0000000000000000000000000000000000000000000000000000000000000000"}}',0,'0000000000000000000000000000000000000000000000000000000000000000','2026-11-29 03:00:06.349274',NULL,NULL,1,NULL,NULL);
CREATE TABLE "annotate_task" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "kind" varchar(12) NOT NULL, "judgments_wanted" smallint unsigned NOT NULL CHECK ("judgments_wanted" >= 0), "judgments_given" smallint unsigned NOT NULL CHECK ("judgments_given" >= 0), "slots_free" smallint unsigned NOT NULL CHECK ("slots_free" >= 0), "priority" smallint NOT NULL, "random_key" bigint NOT NULL, "position" bigint GENERATED ALWAYS AS (("random_key" - ("priority" * 281474976710656))) STORED, "gold_tiers" text NULL CHECK ((JSON_VALID("gold_tiers") OR "gold_tiers" IS NULL)), "state" varchar(9) NOT NULL, "created_at" datetime NOT NULL, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, "prompt_id" bigint NULL REFERENCES "annotate_prompt" ("id") DEFERRABLE INITIALLY DEFERRED, "brief" text NOT NULL CHECK ((JSON_VALID("brief") OR "brief" IS NULL)), "data_import" bigint unsigned NULL CHECK ("data_import" >= 0), CONSTRAINT "task_wants_a_judgment" CHECK ("judgments_wanted" >= 1), CONSTRAINT "task_slots_within_wanted" CHECK ("slots_free" <= ("judgments_wanted")), CONSTRAINT "task_has_a_prompt" CHECK (("kind" = 'write_prompt' OR "prompt_id" IS NOT NULL)));
INSERT INTO "annotate_task" VALUES(1,'compare',2,0,2,0,38507539925560,NULL,'open','2026-11-29 03:00:03.757184',1,1,'{}',NULL);
INSERT INTO "annotate_task" VALUES(2,'compare',2,0,2,0,153697397149678,NULL,'open','2026-11-29 03:00:03.785472',1,2,'{}',NULL);
INSERT INTO "annotate_task" VALUES(3,'compare',2,0,2,0,174163034646069,NULL,'open','2026-11-29 03:00:03.833508',1,3,'{}',NULL);
INSERT INTO "annotate_task" VALUES(4,'compare',2,2,0,0,10453710257529,NULL,'complete','2026-11-29 03:00:03.861447',1,4,'{}',NULL);
INSERT INTO "annotate_task" VALUES(5,'compare',2,2,0,0,11900862168014,NULL,'complete','2026-11-29 03:00:03.889391',1,5,'{}',NULL);
INSERT INTO "annotate_task" VALUES(6,'compare',2,0,0,0,43168994625701,NULL,'open','2026-11-29 03:00:03.929137',1,6,'{}',NULL);
INSERT INTO "annotate_task" VALUES(7,'compare',2,0,2,0,128298070512424,NULL,'open','2026-11-29 03:00:03.957006',1,7,'{}',NULL);
INSERT INTO "annotate_task" VALUES(8,'compare',2,0,2,0,114681652486818,NULL,'open','2026-11-29 03:00:03.985443',1,8,'{}',NULL);
INSERT INTO "annotate_task" VALUES(9,'compare',1,0,1,0,71611799515870,NULL,'open','2026-11-29 03:00:05.666033',4,9,'{}',NULL);
INSERT INTO "annotate_task" VALUES(10,'compare',1,0,1,0,261055688796738,NULL,'open','2026-11-29 03:00:05.701837',5,10,'{}',NULL);
INSERT INTO "annotate_task" VALUES(11,'compare',1,0,1,0,42563717012314,NULL,'open','2026-11-29 03:00:05.782293',6,11,'{}',NULL);
INSERT INTO "annotate_task" VALUES(12,'compare',1,0,1,0,68745084731066,NULL,'open','2026-11-29 03:00:05.853512',7,12,'{}',NULL);
INSERT INTO "annotate_task" VALUES(13,'demonstrate',1,0,1,0,195451834728669,NULL,'open','2026-11-29 03:00:05.882879',8,13,'{}',NULL);
INSERT INTO "annotate_task" VALUES(14,'write_prompt',1,0,1,0,41955758195449,NULL,'open','2026-11-29 03:00:05.897828',9,NULL,'{}',NULL);
INSERT INTO "annotate_task" VALUES(15,'rate',1,0,1,0,61852940660381,NULL,'open','2026-11-29 03:00:05.918134',10,14,'{}',NULL);
INSERT INTO "annotate_task" VALUES(16,'chat',1,0,1,0,38747533030162,NULL,'open','2026-11-29 03:00:05.953024',11,15,'{}',NULL);
INSERT INTO "annotate_task" VALUES(17,'compare',1,0,1,0,205950825021070,NULL,'open','2026-11-29 03:00:05.985490',12,16,'{}',NULL);
INSERT INTO "annotate_task" VALUES(18,'compare',1,0,1,0,2425800444117,'[[53], [54]]','exam','2026-11-29 03:00:06.005504',12,17,'{}',NULL);
INSERT INTO "annotate_task" VALUES(19,'compare',1,1,0,0,83755068389489,NULL,'complete','2026-11-29 03:00:06.032945',1,18,'{"instructions": "first brief"}',NULL);
INSERT INTO "annotate_task" VALUES(20,'compare',1,0,0,0,4718897987663,NULL,'open','2026-11-29 03:00:06.072577',1,19,'{"instructions": "first brief"}',NULL);
INSERT INTO "annotate_task" VALUES(21,'demonstrate',1,0,0,0,131791171409098,NULL,'open','2026-11-29 03:00:06.096519',1,20,'{"instructions": "first brief"}',NULL);
INSERT INTO "annotate_task" VALUES(22,'write_prompt',1,0,0,0,11909564447977,NULL,'open','2026-11-29 03:00:06.102130',1,NULL,'{"instructions": "first brief"}',NULL);
INSERT INTO "annotate_task" VALUES(23,'rate',1,0,0,0,166989793844664,NULL,'open','2026-11-29 03:00:06.105882',1,21,'{"instructions": "first brief"}',NULL);
INSERT INTO "annotate_task" VALUES(24,'chat',1,0,0,0,37052849362030,NULL,'open','2026-11-29 03:00:06.117296',1,22,'{"instructions": "first brief"}',NULL);
INSERT INTO "annotate_task" VALUES(25,'compare',1,0,0,0,121876264423689,'[[60], [61]]','exam','2026-11-29 03:00:06.144909',1,23,'{}',NULL);
INSERT INTO "annotate_task" VALUES(26,'compare',1,1,0,0,217982143854250,NULL,'complete','2026-11-29 03:00:06.181819',1,24,'{"instructions": "second brief"}',NULL);
INSERT INTO "annotate_task" VALUES(27,'compare',1,0,0,0,92223689673802,NULL,'open','2026-11-29 03:00:06.222761',1,25,'{"instructions": "second brief"}',NULL);
INSERT INTO "annotate_task" VALUES(28,'demonstrate',1,0,0,0,216483006161961,NULL,'open','2026-11-29 03:00:06.250789',1,26,'{"instructions": "second brief"}',NULL);
INSERT INTO "annotate_task" VALUES(29,'write_prompt',1,0,0,0,107695718429542,NULL,'open','2026-11-29 03:00:06.261066',1,NULL,'{"instructions": "second brief"}',NULL);
INSERT INTO "annotate_task" VALUES(30,'rate',1,0,0,0,168284763672734,NULL,'open','2026-11-29 03:00:06.273071',1,27,'{"instructions": "second brief"}',NULL);
INSERT INTO "annotate_task" VALUES(31,'chat',1,0,0,0,189828600929621,NULL,'open','2026-11-29 03:00:06.289742',1,28,'{"instructions": "second brief"}',NULL);
INSERT INTO "annotate_task" VALUES(32,'compare',1,0,0,0,106618683640163,'[[69], [70]]','exam','2026-11-29 03:00:06.320963',1,29,'{}',NULL);
CREATE TABLE "annotate_taskresponse" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "number" smallint unsigned NOT NULL CHECK ("number" >= 0), "response_id" bigint NOT NULL REFERENCES "annotate_response" ("id") DEFERRABLE INITIALLY DEFERRED, "task_id" bigint NOT NULL REFERENCES "annotate_task" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "task_response_once" UNIQUE ("task_id", "response_id"), CONSTRAINT "task_response_number_once" UNIQUE ("task_id", "number"));
INSERT INTO "annotate_taskresponse" VALUES(1,0,1,1);
INSERT INTO "annotate_taskresponse" VALUES(2,1,2,1);
INSERT INTO "annotate_taskresponse" VALUES(3,2,3,1);
INSERT INTO "annotate_taskresponse" VALUES(4,3,4,1);
INSERT INTO "annotate_taskresponse" VALUES(5,0,5,2);
INSERT INTO "annotate_taskresponse" VALUES(6,1,6,2);
INSERT INTO "annotate_taskresponse" VALUES(7,2,7,2);
INSERT INTO "annotate_taskresponse" VALUES(8,3,8,2);
INSERT INTO "annotate_taskresponse" VALUES(9,0,9,3);
INSERT INTO "annotate_taskresponse" VALUES(10,1,10,3);
INSERT INTO "annotate_taskresponse" VALUES(11,2,11,3);
INSERT INTO "annotate_taskresponse" VALUES(12,3,12,3);
INSERT INTO "annotate_taskresponse" VALUES(13,0,13,4);
INSERT INTO "annotate_taskresponse" VALUES(14,1,14,4);
INSERT INTO "annotate_taskresponse" VALUES(15,2,15,4);
INSERT INTO "annotate_taskresponse" VALUES(16,3,16,4);
INSERT INTO "annotate_taskresponse" VALUES(17,0,17,5);
INSERT INTO "annotate_taskresponse" VALUES(18,1,18,5);
INSERT INTO "annotate_taskresponse" VALUES(19,2,19,5);
INSERT INTO "annotate_taskresponse" VALUES(20,3,20,5);
INSERT INTO "annotate_taskresponse" VALUES(21,0,21,6);
INSERT INTO "annotate_taskresponse" VALUES(22,1,22,6);
INSERT INTO "annotate_taskresponse" VALUES(23,2,23,6);
INSERT INTO "annotate_taskresponse" VALUES(24,3,24,6);
INSERT INTO "annotate_taskresponse" VALUES(25,0,25,7);
INSERT INTO "annotate_taskresponse" VALUES(26,1,26,7);
INSERT INTO "annotate_taskresponse" VALUES(27,2,27,7);
INSERT INTO "annotate_taskresponse" VALUES(28,3,28,7);
INSERT INTO "annotate_taskresponse" VALUES(29,0,29,8);
INSERT INTO "annotate_taskresponse" VALUES(30,1,30,8);
INSERT INTO "annotate_taskresponse" VALUES(31,2,31,8);
INSERT INTO "annotate_taskresponse" VALUES(32,3,32,8);
INSERT INTO "annotate_taskresponse" VALUES(33,0,33,9);
INSERT INTO "annotate_taskresponse" VALUES(34,1,34,9);
INSERT INTO "annotate_taskresponse" VALUES(35,0,35,10);
INSERT INTO "annotate_taskresponse" VALUES(36,1,36,10);
INSERT INTO "annotate_taskresponse" VALUES(37,0,37,11);
INSERT INTO "annotate_taskresponse" VALUES(38,1,38,11);
INSERT INTO "annotate_taskresponse" VALUES(39,2,39,11);
INSERT INTO "annotate_taskresponse" VALUES(40,3,40,11);
INSERT INTO "annotate_taskresponse" VALUES(41,4,41,11);
INSERT INTO "annotate_taskresponse" VALUES(42,5,42,11);
INSERT INTO "annotate_taskresponse" VALUES(43,6,43,11);
INSERT INTO "annotate_taskresponse" VALUES(44,7,44,11);
INSERT INTO "annotate_taskresponse" VALUES(45,8,45,11);
INSERT INTO "annotate_taskresponse" VALUES(46,0,46,12);
INSERT INTO "annotate_taskresponse" VALUES(47,1,47,12);
INSERT INTO "annotate_taskresponse" VALUES(48,2,48,12);
INSERT INTO "annotate_taskresponse" VALUES(49,3,49,12);
INSERT INTO "annotate_taskresponse" VALUES(50,0,50,15);
INSERT INTO "annotate_taskresponse" VALUES(51,0,51,17);
INSERT INTO "annotate_taskresponse" VALUES(52,1,52,17);
INSERT INTO "annotate_taskresponse" VALUES(53,0,53,18);
INSERT INTO "annotate_taskresponse" VALUES(54,1,54,18);
INSERT INTO "annotate_taskresponse" VALUES(55,0,55,19);
INSERT INTO "annotate_taskresponse" VALUES(56,1,56,19);
INSERT INTO "annotate_taskresponse" VALUES(57,0,57,20);
INSERT INTO "annotate_taskresponse" VALUES(58,1,58,20);
INSERT INTO "annotate_taskresponse" VALUES(59,0,59,23);
INSERT INTO "annotate_taskresponse" VALUES(60,0,60,25);
INSERT INTO "annotate_taskresponse" VALUES(61,1,61,25);
INSERT INTO "annotate_taskresponse" VALUES(62,0,64,26);
INSERT INTO "annotate_taskresponse" VALUES(63,1,65,26);
INSERT INTO "annotate_taskresponse" VALUES(64,0,66,27);
INSERT INTO "annotate_taskresponse" VALUES(65,1,67,27);
INSERT INTO "annotate_taskresponse" VALUES(66,0,68,30);
INSERT INTO "annotate_taskresponse" VALUES(67,0,69,32);
INSERT INTO "annotate_taskresponse" VALUES(68,1,70,32);
CREATE TABLE "annotate_user" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "password" varchar(128) NOT NULL, "last_login" datetime NULL, "is_superuser" bool NOT NULL, "username" varchar(150) NOT NULL UNIQUE, "first_name" varchar(150) NOT NULL, "last_name" varchar(150) NOT NULL, "email" varchar(254) NOT NULL, "is_staff" bool NOT NULL, "is_active" bool NOT NULL, "date_joined" datetime NOT NULL, "language" varchar(10) NOT NULL, "theme" varchar(6) NOT NULL, "must_change_password" bool NOT NULL, "keys" text NOT NULL CHECK ((JSON_VALID("keys") OR "keys" IS NULL)), "sensitive_choice" varchar(8) NOT NULL, "time_zone" varchar(64) NOT NULL, "created_by_id" bigint NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "one_time_until" datetime NULL, "notices_seen_at" datetime NULL);
INSERT INTO "annotate_user" VALUES(1,'pbkdf2_sha256$1000000$GjR1fnmWp1bwf7LSTjbInh$CUm+6ouc4LCVIkxxrd5/Qx/+5Hi1pJ41yUmzOk7eiU4=',NULL,1,'admin','','','',1,1,'2026-11-29 03:00:00.662510','','system',0,'{}','','',NULL,NULL,NULL);
INSERT INTO "annotate_user" VALUES(2,'pbkdf2_sha256$1000000$gGgvuT36yyovgWWuOpbbom$KbOmjmcutihoapBb2MAYbIHaSxcW/NAoAQD0c7O0eoY=',NULL,0,'manager','','','',0,1,'2026-11-29 03:00:01.228562','','system',0,'{}','','',NULL,NULL,NULL);
INSERT INTO "annotate_user" VALUES(3,'pbkdf2_sha256$1000000$XiqZmOvu2Pd9vnNUiLTSEi$yjbodgLXI0wlXcdyRDIx148gcN8SzWwbf2RYA+ivV8M=',NULL,0,'researcher','','','',0,1,'2026-11-29 03:00:01.672504','','system',0,'{}','','',NULL,NULL,NULL);
INSERT INTO "annotate_user" VALUES(4,'pbkdf2_sha256$1000000$Z6MdFNrVbdeLxiRhCCnshz$95E/VcvikZOhlVO2pCfa9OYWq7ILLDA+uviwr23B7/E=',NULL,0,'reviewer','','','',0,1,'2026-11-29 03:00:01.954548','','system',0,'{}','','',NULL,NULL,NULL);
INSERT INTO "annotate_user" VALUES(5,'pbkdf2_sha256$1000000$7tYJCxlA0VsbzRaKVObyPA$+I1Pxw2NdoAyq4leWEBWO9HeF0OYIGGdwJqqmOvsISo=',NULL,0,'labeler','','','',0,1,'2026-11-29 03:00:02.236467','','system',0,'{}','','',NULL,NULL,NULL);
INSERT INTO "annotate_user" VALUES(6,'pbkdf2_sha256$1000000$nducd6pScGos1ozdsFjGcg$81RHyr1LBYn/Ka5eZenO8bBcSUs00aIUguJj0HiAAqw=',NULL,0,'second_labeler','','','',0,1,'2026-11-29 03:00:02.564493','','system',0,'{}','','',NULL,NULL,NULL);
INSERT INTO "annotate_user" VALUES(7,'pbkdf2_sha256$1000000$mwfMwmCEv9uQt5ZFAzKiLZ$MRVPtnXFh+OPWwCIn+/xzKetbnMdnVPHZ5XLtY4KFFc=',NULL,0,'outsider','','','',0,1,'2026-11-29 03:00:03.157542','','system',0,'{}','','',NULL,NULL,NULL);
CREATE TABLE "annotate_user_groups" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "user_id" bigint NOT NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "group_id" integer NOT NULL REFERENCES "auth_group" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "annotate_user_user_permissions" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "user_id" bigint NOT NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "permission_id" integer NOT NULL REFERENCES "auth_permission" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "auth_group" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "name" varchar(150) NOT NULL UNIQUE);
CREATE TABLE "auth_group_permissions" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "group_id" integer NOT NULL REFERENCES "auth_group" ("id") DEFERRABLE INITIALLY DEFERRED, "permission_id" integer NOT NULL REFERENCES "auth_permission" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "auth_permission" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "content_type_id" integer NOT NULL REFERENCES "django_content_type" ("id") DEFERRABLE INITIALLY DEFERRED, "codename" varchar(100) NOT NULL, "name" varchar(255) NOT NULL);
INSERT INTO "auth_permission" VALUES(1,1,'add_ratebucket','Can add rate bucket');
INSERT INTO "auth_permission" VALUES(2,1,'change_ratebucket','Can change rate bucket');
INSERT INTO "auth_permission" VALUES(3,1,'delete_ratebucket','Can delete rate bucket');
INSERT INTO "auth_permission" VALUES(4,1,'view_ratebucket','Can view rate bucket');
INSERT INTO "auth_permission" VALUES(5,2,'add_user','Can add user');
INSERT INTO "auth_permission" VALUES(6,2,'change_user','Can change user');
INSERT INTO "auth_permission" VALUES(7,2,'delete_user','Can delete user');
INSERT INTO "auth_permission" VALUES(8,2,'view_user','Can view user');
INSERT INTO "auth_permission" VALUES(9,3,'add_assignment','Can add assignment');
INSERT INTO "auth_permission" VALUES(10,3,'change_assignment','Can change assignment');
INSERT INTO "auth_permission" VALUES(11,3,'delete_assignment','Can delete assignment');
INSERT INTO "auth_permission" VALUES(12,3,'view_assignment','Can view assignment');
INSERT INTO "auth_permission" VALUES(13,4,'add_author','Can add author');
INSERT INTO "auth_permission" VALUES(14,4,'change_author','Can change author');
INSERT INTO "auth_permission" VALUES(15,4,'delete_author','Can delete author');
INSERT INTO "auth_permission" VALUES(16,4,'view_author','Can view author');
INSERT INTO "auth_permission" VALUES(17,5,'add_judgment','Can add judgment');
INSERT INTO "auth_permission" VALUES(18,5,'change_judgment','Can change judgment');
INSERT INTO "auth_permission" VALUES(19,5,'delete_judgment','Can delete judgment');
INSERT INTO "auth_permission" VALUES(20,5,'view_judgment','Can view judgment');
INSERT INTO "auth_permission" VALUES(21,6,'add_judgmentrevision','Can add judgment revision');
INSERT INTO "auth_permission" VALUES(22,6,'change_judgmentrevision','Can change judgment revision');
INSERT INTO "auth_permission" VALUES(23,6,'delete_judgmentrevision','Can delete judgment revision');
INSERT INTO "auth_permission" VALUES(24,6,'view_judgmentrevision','Can view judgment revision');
INSERT INTO "auth_permission" VALUES(25,7,'add_project','Can add project');
INSERT INTO "auth_permission" VALUES(26,7,'change_project','Can change project');
INSERT INTO "auth_permission" VALUES(27,7,'delete_project','Can delete project');
INSERT INTO "auth_permission" VALUES(28,7,'view_project','Can view project');
INSERT INTO "auth_permission" VALUES(29,8,'add_membership','Can add membership');
INSERT INTO "auth_permission" VALUES(30,8,'change_membership','Can change membership');
INSERT INTO "auth_permission" VALUES(31,8,'delete_membership','Can delete membership');
INSERT INTO "auth_permission" VALUES(32,8,'view_membership','Can view membership');
INSERT INTO "auth_permission" VALUES(33,9,'add_guidelines','Can add guidelines');
INSERT INTO "auth_permission" VALUES(34,9,'change_guidelines','Can change guidelines');
INSERT INTO "auth_permission" VALUES(35,9,'delete_guidelines','Can delete guidelines');
INSERT INTO "auth_permission" VALUES(36,9,'view_guidelines','Can view guidelines');
INSERT INTO "auth_permission" VALUES(37,10,'add_auditevent','Can add audit event');
INSERT INTO "auth_permission" VALUES(38,10,'change_auditevent','Can change audit event');
INSERT INTO "auth_permission" VALUES(39,10,'delete_auditevent','Can delete audit event');
INSERT INTO "auth_permission" VALUES(40,10,'view_auditevent','Can view audit event');
INSERT INTO "auth_permission" VALUES(41,11,'add_prompt','Can add prompt');
INSERT INTO "auth_permission" VALUES(42,11,'change_prompt','Can change prompt');
INSERT INTO "auth_permission" VALUES(43,11,'delete_prompt','Can delete prompt');
INSERT INTO "auth_permission" VALUES(44,11,'view_prompt','Can view prompt');
INSERT INTO "auth_permission" VALUES(45,12,'add_answerrequest','Can add answer request');
INSERT INTO "auth_permission" VALUES(46,12,'change_answerrequest','Can change answer request');
INSERT INTO "auth_permission" VALUES(47,12,'delete_answerrequest','Can delete answer request');
INSERT INTO "auth_permission" VALUES(48,12,'view_answerrequest','Can view answer request');
INSERT INTO "auth_permission" VALUES(49,13,'add_queuecursor','Can add queue cursor');
INSERT INTO "auth_permission" VALUES(50,13,'change_queuecursor','Can change queue cursor');
INSERT INTO "auth_permission" VALUES(51,13,'delete_queuecursor','Can delete queue cursor');
INSERT INTO "auth_permission" VALUES(52,13,'view_queuecursor','Can view queue cursor');
INSERT INTO "auth_permission" VALUES(53,14,'add_response','Can add response');
INSERT INTO "auth_permission" VALUES(54,14,'change_response','Can change response');
INSERT INTO "auth_permission" VALUES(55,14,'delete_response','Can delete response');
INSERT INTO "auth_permission" VALUES(56,14,'view_response','Can view response');
INSERT INTO "auth_permission" VALUES(57,15,'add_demonstration','Can add demonstration');
INSERT INTO "auth_permission" VALUES(58,15,'change_demonstration','Can change demonstration');
INSERT INTO "auth_permission" VALUES(59,15,'delete_demonstration','Can delete demonstration');
INSERT INTO "auth_permission" VALUES(60,15,'view_demonstration','Can view demonstration');
INSERT INTO "auth_permission" VALUES(61,16,'add_rubric','Can add rubric');
INSERT INTO "auth_permission" VALUES(62,16,'change_rubric','Can change rubric');
INSERT INTO "auth_permission" VALUES(63,16,'delete_rubric','Can delete rubric');
INSERT INTO "auth_permission" VALUES(64,16,'view_rubric','Can view rubric');
INSERT INTO "auth_permission" VALUES(65,17,'add_snapshot','Can add snapshot');
INSERT INTO "auth_permission" VALUES(66,17,'change_snapshot','Can change snapshot');
INSERT INTO "auth_permission" VALUES(67,17,'delete_snapshot','Can delete snapshot');
INSERT INTO "auth_permission" VALUES(68,17,'view_snapshot','Can view snapshot');
INSERT INTO "auth_permission" VALUES(69,18,'add_task','Can add task');
INSERT INTO "auth_permission" VALUES(70,18,'change_task','Can change task');
INSERT INTO "auth_permission" VALUES(71,18,'delete_task','Can delete task');
INSERT INTO "auth_permission" VALUES(72,18,'view_task','Can view task');
INSERT INTO "auth_permission" VALUES(73,19,'add_taskresponse','Can add task response');
INSERT INTO "auth_permission" VALUES(74,19,'change_taskresponse','Can change task response');
INSERT INTO "auth_permission" VALUES(75,19,'delete_taskresponse','Can delete task response');
INSERT INTO "auth_permission" VALUES(76,19,'view_taskresponse','Can view task response');
INSERT INTO "auth_permission" VALUES(77,20,'add_judgmentreturn','Can add judgment return');
INSERT INTO "auth_permission" VALUES(78,20,'change_judgmentreturn','Can change judgment return');
INSERT INTO "auth_permission" VALUES(79,20,'delete_judgmentreturn','Can delete judgment return');
INSERT INTO "auth_permission" VALUES(80,20,'view_judgmentreturn','Can view judgment return');
INSERT INTO "auth_permission" VALUES(81,21,'add_report','Can add report');
INSERT INTO "auth_permission" VALUES(82,21,'change_report','Can change report');
INSERT INTO "auth_permission" VALUES(83,21,'delete_report','Can delete report');
INSERT INTO "auth_permission" VALUES(84,21,'view_report','Can view report');
INSERT INTO "auth_permission" VALUES(85,22,'add_examattempt','Can add exam attempt');
INSERT INTO "auth_permission" VALUES(86,22,'change_examattempt','Can change exam attempt');
INSERT INTO "auth_permission" VALUES(87,22,'delete_examattempt','Can delete exam attempt');
INSERT INTO "auth_permission" VALUES(88,22,'view_examattempt','Can view exam attempt');
INSERT INTO "auth_permission" VALUES(89,23,'add_examanswer','Can add exam answer');
INSERT INTO "auth_permission" VALUES(90,23,'change_examanswer','Can change exam answer');
INSERT INTO "auth_permission" VALUES(91,23,'delete_examanswer','Can delete exam answer');
INSERT INTO "auth_permission" VALUES(92,23,'view_examanswer','Can view exam answer');
INSERT INTO "auth_permission" VALUES(93,24,'add_chatturn','Can add chat turn');
INSERT INTO "auth_permission" VALUES(94,24,'change_chatturn','Can change chat turn');
INSERT INTO "auth_permission" VALUES(95,24,'delete_chatturn','Can delete chat turn');
INSERT INTO "auth_permission" VALUES(96,24,'view_chatturn','Can view chat turn');
INSERT INTO "auth_permission" VALUES(97,25,'add_invitation','Can add invitation');
INSERT INTO "auth_permission" VALUES(98,25,'change_invitation','Can change invitation');
INSERT INTO "auth_permission" VALUES(99,25,'delete_invitation','Can delete invitation');
INSERT INTO "auth_permission" VALUES(100,25,'view_invitation','Can view invitation');
INSERT INTO "auth_permission" VALUES(101,26,'add_judgmentacceptance','Can add judgment acceptance');
INSERT INTO "auth_permission" VALUES(102,26,'change_judgmentacceptance','Can change judgment acceptance');
INSERT INTO "auth_permission" VALUES(103,26,'delete_judgmentacceptance','Can delete judgment acceptance');
INSERT INTO "auth_permission" VALUES(104,26,'view_judgmentacceptance','Can view judgment acceptance');
INSERT INTO "auth_permission" VALUES(105,27,'add_dataimport','Can add data import');
INSERT INTO "auth_permission" VALUES(106,27,'change_dataimport','Can change data import');
INSERT INTO "auth_permission" VALUES(107,27,'delete_dataimport','Can delete data import');
INSERT INTO "auth_permission" VALUES(108,27,'view_dataimport','Can view data import');
INSERT INTO "auth_permission" VALUES(109,28,'add_promptchange','Can add prompt change');
INSERT INTO "auth_permission" VALUES(110,28,'change_promptchange','Can change prompt change');
INSERT INTO "auth_permission" VALUES(111,28,'delete_promptchange','Can delete prompt change');
INSERT INTO "auth_permission" VALUES(112,28,'view_promptchange','Can view prompt change');
INSERT INTO "auth_permission" VALUES(113,29,'add_workerheartbeat','Can add worker heartbeat');
INSERT INTO "auth_permission" VALUES(114,29,'change_workerheartbeat','Can change worker heartbeat');
INSERT INTO "auth_permission" VALUES(115,29,'delete_workerheartbeat','Can delete worker heartbeat');
INSERT INTO "auth_permission" VALUES(116,29,'view_workerheartbeat','Can view worker heartbeat');
INSERT INTO "auth_permission" VALUES(117,30,'add_looppolicy','Can add loop policy');
INSERT INTO "auth_permission" VALUES(118,30,'change_looppolicy','Can change loop policy');
INSERT INTO "auth_permission" VALUES(119,30,'delete_looppolicy','Can delete loop policy');
INSERT INTO "auth_permission" VALUES(120,30,'view_looppolicy','Can view loop policy');
INSERT INTO "auth_permission" VALUES(121,31,'add_modelversion','Can add model version');
INSERT INTO "auth_permission" VALUES(122,31,'change_modelversion','Can change model version');
INSERT INTO "auth_permission" VALUES(123,31,'delete_modelversion','Can delete model version');
INSERT INTO "auth_permission" VALUES(124,31,'view_modelversion','Can view model version');
INSERT INTO "auth_permission" VALUES(125,32,'add_iteration','Can add iteration');
INSERT INTO "auth_permission" VALUES(126,32,'change_iteration','Can change iteration');
INSERT INTO "auth_permission" VALUES(127,32,'delete_iteration','Can delete iteration');
INSERT INTO "auth_permission" VALUES(128,32,'view_iteration','Can view iteration');
INSERT INTO "auth_permission" VALUES(129,33,'add_runinput','Can add run input');
INSERT INTO "auth_permission" VALUES(130,33,'change_runinput','Can change run input');
INSERT INTO "auth_permission" VALUES(131,33,'delete_runinput','Can delete run input');
INSERT INTO "auth_permission" VALUES(132,33,'view_runinput','Can view run input');
INSERT INTO "auth_permission" VALUES(133,34,'add_trainingrun','Can add training run');
INSERT INTO "auth_permission" VALUES(134,34,'change_trainingrun','Can change training run');
INSERT INTO "auth_permission" VALUES(135,34,'delete_trainingrun','Can delete training run');
INSERT INTO "auth_permission" VALUES(136,34,'view_trainingrun','Can view training run');
INSERT INTO "auth_permission" VALUES(137,35,'add_runmetric','Can add run metric');
INSERT INTO "auth_permission" VALUES(138,35,'change_runmetric','Can change run metric');
INSERT INTO "auth_permission" VALUES(139,35,'delete_runmetric','Can delete run metric');
INSERT INTO "auth_permission" VALUES(140,35,'view_runmetric','Can view run metric');
INSERT INTO "auth_permission" VALUES(141,36,'add_taskchoice','Can add task choice');
INSERT INTO "auth_permission" VALUES(142,36,'change_taskchoice','Can change task choice');
INSERT INTO "auth_permission" VALUES(143,36,'delete_taskchoice','Can delete task choice');
INSERT INTO "auth_permission" VALUES(144,36,'view_taskchoice','Can view task choice');
INSERT INTO "auth_permission" VALUES(145,37,'add_promotion','Can add promotion');
INSERT INTO "auth_permission" VALUES(146,37,'change_promotion','Can change promotion');
INSERT INTO "auth_permission" VALUES(147,37,'delete_promotion','Can delete promotion');
INSERT INTO "auth_permission" VALUES(148,37,'view_promotion','Can view promotion');
INSERT INTO "auth_permission" VALUES(149,38,'add_logentry','Can add log entry');
INSERT INTO "auth_permission" VALUES(150,38,'change_logentry','Can change log entry');
INSERT INTO "auth_permission" VALUES(151,38,'delete_logentry','Can delete log entry');
INSERT INTO "auth_permission" VALUES(152,38,'view_logentry','Can view log entry');
INSERT INTO "auth_permission" VALUES(153,39,'add_permission','Can add permission');
INSERT INTO "auth_permission" VALUES(154,39,'change_permission','Can change permission');
INSERT INTO "auth_permission" VALUES(155,39,'delete_permission','Can delete permission');
INSERT INTO "auth_permission" VALUES(156,39,'view_permission','Can view permission');
INSERT INTO "auth_permission" VALUES(157,40,'add_group','Can add group');
INSERT INTO "auth_permission" VALUES(158,40,'change_group','Can change group');
INSERT INTO "auth_permission" VALUES(159,40,'delete_group','Can delete group');
INSERT INTO "auth_permission" VALUES(160,40,'view_group','Can view group');
INSERT INTO "auth_permission" VALUES(161,41,'add_contenttype','Can add content type');
INSERT INTO "auth_permission" VALUES(162,41,'change_contenttype','Can change content type');
INSERT INTO "auth_permission" VALUES(163,41,'delete_contenttype','Can delete content type');
INSERT INTO "auth_permission" VALUES(164,41,'view_contenttype','Can view content type');
INSERT INTO "auth_permission" VALUES(165,42,'add_session','Can add session');
INSERT INTO "auth_permission" VALUES(166,42,'change_session','Can change session');
INSERT INTO "auth_permission" VALUES(167,42,'delete_session','Can delete session');
INSERT INTO "auth_permission" VALUES(168,42,'view_session','Can view session');
INSERT INTO "auth_permission" VALUES(169,43,'add_emailaddress','Can add email address');
INSERT INTO "auth_permission" VALUES(170,43,'change_emailaddress','Can change email address');
INSERT INTO "auth_permission" VALUES(171,43,'delete_emailaddress','Can delete email address');
INSERT INTO "auth_permission" VALUES(172,43,'view_emailaddress','Can view email address');
INSERT INTO "auth_permission" VALUES(173,44,'add_emailconfirmation','Can add email confirmation');
INSERT INTO "auth_permission" VALUES(174,44,'change_emailconfirmation','Can change email confirmation');
INSERT INTO "auth_permission" VALUES(175,44,'delete_emailconfirmation','Can delete email confirmation');
INSERT INTO "auth_permission" VALUES(176,44,'view_emailconfirmation','Can view email confirmation');
CREATE TABLE "config_ratebucket" ("key" varchar(64) NOT NULL PRIMARY KEY, "drained_at" real NOT NULL);
CREATE TABLE "django_admin_log" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "object_id" text NULL, "object_repr" varchar(200) NOT NULL, "action_flag" smallint unsigned NOT NULL CHECK ("action_flag" >= 0), "change_message" text NOT NULL, "content_type_id" integer NULL REFERENCES "django_content_type" ("id") DEFERRABLE INITIALLY DEFERRED, "user_id" bigint NOT NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "action_time" datetime NOT NULL);
CREATE TABLE "django_content_type" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "app_label" varchar(100) NOT NULL, "model" varchar(100) NOT NULL);
INSERT INTO "django_content_type" VALUES(1,'config','ratebucket');
INSERT INTO "django_content_type" VALUES(2,'annotate','user');
INSERT INTO "django_content_type" VALUES(3,'annotate','assignment');
INSERT INTO "django_content_type" VALUES(4,'annotate','author');
INSERT INTO "django_content_type" VALUES(5,'annotate','judgment');
INSERT INTO "django_content_type" VALUES(6,'annotate','judgmentrevision');
INSERT INTO "django_content_type" VALUES(7,'annotate','project');
INSERT INTO "django_content_type" VALUES(8,'annotate','membership');
INSERT INTO "django_content_type" VALUES(9,'annotate','guidelines');
INSERT INTO "django_content_type" VALUES(10,'annotate','auditevent');
INSERT INTO "django_content_type" VALUES(11,'annotate','prompt');
INSERT INTO "django_content_type" VALUES(12,'annotate','answerrequest');
INSERT INTO "django_content_type" VALUES(13,'annotate','queuecursor');
INSERT INTO "django_content_type" VALUES(14,'annotate','response');
INSERT INTO "django_content_type" VALUES(15,'annotate','demonstration');
INSERT INTO "django_content_type" VALUES(16,'annotate','rubric');
INSERT INTO "django_content_type" VALUES(17,'annotate','snapshot');
INSERT INTO "django_content_type" VALUES(18,'annotate','task');
INSERT INTO "django_content_type" VALUES(19,'annotate','taskresponse');
INSERT INTO "django_content_type" VALUES(20,'annotate','judgmentreturn');
INSERT INTO "django_content_type" VALUES(21,'annotate','report');
INSERT INTO "django_content_type" VALUES(22,'annotate','examattempt');
INSERT INTO "django_content_type" VALUES(23,'annotate','examanswer');
INSERT INTO "django_content_type" VALUES(24,'annotate','chatturn');
INSERT INTO "django_content_type" VALUES(25,'annotate','invitation');
INSERT INTO "django_content_type" VALUES(26,'annotate','judgmentacceptance');
INSERT INTO "django_content_type" VALUES(27,'annotate','dataimport');
INSERT INTO "django_content_type" VALUES(28,'annotate','promptchange');
INSERT INTO "django_content_type" VALUES(29,'rlhf','workerheartbeat');
INSERT INTO "django_content_type" VALUES(30,'rlhf','looppolicy');
INSERT INTO "django_content_type" VALUES(31,'rlhf','modelversion');
INSERT INTO "django_content_type" VALUES(32,'rlhf','iteration');
INSERT INTO "django_content_type" VALUES(33,'rlhf','runinput');
INSERT INTO "django_content_type" VALUES(34,'rlhf','trainingrun');
INSERT INTO "django_content_type" VALUES(35,'rlhf','runmetric');
INSERT INTO "django_content_type" VALUES(36,'rlhf','taskchoice');
INSERT INTO "django_content_type" VALUES(37,'rlhf','promotion');
INSERT INTO "django_content_type" VALUES(38,'admin','logentry');
INSERT INTO "django_content_type" VALUES(39,'auth','permission');
INSERT INTO "django_content_type" VALUES(40,'auth','group');
INSERT INTO "django_content_type" VALUES(41,'contenttypes','contenttype');
INSERT INTO "django_content_type" VALUES(42,'sessions','session');
INSERT INTO "django_content_type" VALUES(43,'account','emailaddress');
INSERT INTO "django_content_type" VALUES(44,'account','emailconfirmation');
CREATE TABLE "django_migrations" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "app" varchar(255) NOT NULL, "name" varchar(255) NOT NULL, "applied" datetime NOT NULL);
INSERT INTO "django_migrations" VALUES(1,'contenttypes','0001_initial','2026-11-29 02:59:50.363290');
INSERT INTO "django_migrations" VALUES(2,'contenttypes','0002_remove_content_type_name','2026-11-29 02:59:50.377448');
INSERT INTO "django_migrations" VALUES(3,'auth','0001_initial','2026-11-29 02:59:50.400670');
INSERT INTO "django_migrations" VALUES(4,'auth','0002_alter_permission_name_max_length','2026-11-29 02:59:50.409839');
INSERT INTO "django_migrations" VALUES(5,'auth','0003_alter_user_email_max_length','2026-11-29 02:59:50.425992');
INSERT INTO "django_migrations" VALUES(6,'auth','0004_alter_user_username_opts','2026-11-29 02:59:50.439339');
INSERT INTO "django_migrations" VALUES(7,'auth','0005_alter_user_last_login_null','2026-11-29 02:59:50.454568');
INSERT INTO "django_migrations" VALUES(8,'auth','0006_require_contenttypes_0002','2026-11-29 02:59:50.469055');
INSERT INTO "django_migrations" VALUES(9,'auth','0007_alter_validators_add_error_messages','2026-11-29 02:59:50.484481');
INSERT INTO "django_migrations" VALUES(10,'auth','0008_alter_user_username_max_length','2026-11-29 02:59:50.499537');
INSERT INTO "django_migrations" VALUES(11,'auth','0009_alter_user_last_name_max_length','2026-11-29 02:59:50.520554');
INSERT INTO "django_migrations" VALUES(12,'auth','0010_alter_group_name_max_length','2026-11-29 02:59:50.537941');
INSERT INTO "django_migrations" VALUES(13,'auth','0011_update_proxy_permissions','2026-11-29 02:59:50.551371');
INSERT INTO "django_migrations" VALUES(14,'auth','0012_alter_user_first_name_max_length','2026-11-29 02:59:50.567949');
INSERT INTO "django_migrations" VALUES(15,'annotate','0001_initial','2026-11-29 02:59:52.757958');
INSERT INTO "django_migrations" VALUES(16,'account','0001_initial','2026-11-29 02:59:52.817365');
INSERT INTO "django_migrations" VALUES(17,'account','0002_email_max_length','2026-11-29 02:59:52.843479');
INSERT INTO "django_migrations" VALUES(18,'account','0003_alter_emailaddress_create_unique_verified_email','2026-11-29 02:59:53.160640');
INSERT INTO "django_migrations" VALUES(19,'account','0004_alter_emailaddress_drop_unique_email','2026-11-29 02:59:53.187723');
INSERT INTO "django_migrations" VALUES(20,'account','0005_emailaddress_idx_upper_email','2026-11-29 02:59:53.215620');
INSERT INTO "django_migrations" VALUES(21,'account','0006_emailaddress_lower','2026-11-29 02:59:53.253738');
INSERT INTO "django_migrations" VALUES(22,'account','0007_emailaddress_idx_email','2026-11-29 02:59:53.317860');
INSERT INTO "django_migrations" VALUES(23,'account','0008_emailaddress_unique_primary_email_fixup','2026-11-29 02:59:53.359033');
INSERT INTO "django_migrations" VALUES(24,'account','0009_emailaddress_unique_primary_email','2026-11-29 02:59:53.401934');
INSERT INTO "django_migrations" VALUES(25,'admin','0001_initial','2026-11-29 02:59:53.437865');
INSERT INTO "django_migrations" VALUES(26,'admin','0002_logentry_remove_auto_add','2026-11-29 02:59:53.460999');
INSERT INTO "django_migrations" VALUES(27,'admin','0003_logentry_add_action_flag_choices','2026-11-29 02:59:53.482251');
INSERT INTO "django_migrations" VALUES(28,'annotate','0002_mask_model_names','2026-11-29 02:59:53.515261');
INSERT INTO "django_migrations" VALUES(29,'annotate','0003_board_drafts_notes_returns_reports','2026-11-29 02:59:53.913221');
INSERT INTO "django_migrations" VALUES(30,'annotate','0004_task_kinds','2026-11-29 02:59:54.929907');
INSERT INTO "django_migrations" VALUES(31,'annotate','0005_chat_turn_judgment','2026-11-29 02:59:55.009628');
INSERT INTO "django_migrations" VALUES(32,'annotate','0006_snapshot_ratings','2026-11-29 02:59:55.060365');
INSERT INTO "django_migrations" VALUES(33,'annotate','0007_exam_draft_version','2026-11-29 02:59:55.094375');
INSERT INTO "django_migrations" VALUES(34,'annotate','0008_account_time_zone','2026-11-29 02:59:55.124333');
INSERT INTO "django_migrations" VALUES(35,'annotate','0009_snapshot_builder','2026-11-29 02:59:55.179430');
INSERT INTO "django_migrations" VALUES(36,'annotate','0010_invitations','2026-11-29 02:59:55.264399');
INSERT INTO "django_migrations" VALUES(37,'annotate','0011_chosen_kind','2026-11-29 02:59:55.299833');
INSERT INTO "django_migrations" VALUES(38,'annotate','0012_judgment_acceptance','2026-11-29 02:59:55.333790');
INSERT INTO "django_migrations" VALUES(39,'annotate','0013_notices_seen_at','2026-11-29 02:59:55.359353');
INSERT INTO "django_migrations" VALUES(40,'annotate','0014_remove_gold_rate','2026-11-29 02:59:55.412555');
INSERT INTO "django_migrations" VALUES(41,'annotate','0015_data_import','2026-11-29 02:59:55.940354');
INSERT INTO "django_migrations" VALUES(42,'annotate','0016_unknown_authors','2026-11-29 02:59:56.017636');
INSERT INTO "django_migrations" VALUES(43,'annotate','0017_prompt_changes','2026-11-29 02:59:56.158524');
INSERT INTO "django_migrations" VALUES(44,'config','0001_initial','2026-11-29 02:59:56.163397');
INSERT INTO "django_migrations" VALUES(45,'rlhf','0001_initial','2026-11-29 02:59:57.758078');
INSERT INTO "django_migrations" VALUES(46,'rlhf','0002_reward_model_before_it','2026-11-29 02:59:57.832661');
INSERT INTO "django_migrations" VALUES(47,'rlhf','0003_what_to_label_next','2026-11-29 02:59:58.213404');
INSERT INTO "django_migrations" VALUES(48,'rlhf','0004_reward_models_beside','2026-11-29 02:59:58.332907');
INSERT INTO "django_migrations" VALUES(49,'rlhf','0005_promotions_and_capacity','2026-11-29 02:59:58.919479');
INSERT INTO "django_migrations" VALUES(50,'rlhf','0006_promotion_history','2026-11-29 02:59:58.955515');
INSERT INTO "django_migrations" VALUES(51,'sessions','0001_initial','2026-11-29 02:59:58.968617');
CREATE TABLE "django_session" ("session_key" varchar(40) NOT NULL PRIMARY KEY, "session_data" text NOT NULL, "expire_date" datetime NOT NULL);
CREATE TABLE "rlhf_iteration" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "number" integer unsigned NOT NULL CHECK ("number" >= 0), "step" varchar(8) NOT NULL, "state" varchar(9) NOT NULL, "reason" text NOT NULL, "rounds_left" integer unsigned NOT NULL CHECK ("rounds_left" >= 0), "numbers" text NOT NULL CHECK ((JSON_VALID("numbers") OR "numbers" IS NULL)), "started_at" datetime NOT NULL, "finished_at" datetime NULL, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, "snapshot_id" bigint NULL REFERENCES "annotate_snapshot" ("id") DEFERRABLE INITIALLY DEFERRED, "started_by_id" bigint NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "policy_version_id" bigint NULL REFERENCES "rlhf_modelversion" ("id") DEFERRABLE INITIALLY DEFERRED, "reward_version_id" bigint NULL REFERENCES "rlhf_modelversion" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "iteration_number_once" UNIQUE ("project_id", "number"));
INSERT INTO "rlhf_iteration" VALUES(1,1,'snapshot','succeeded','',0,'{"judgments": 60, "reward_accuracy": 0.68, "kl": 4.2, "score": 0.3, "tasks": 16}','2026-11-29 03:00:05.598380',NULL,1,NULL,NULL,1,NULL);
INSERT INTO "rlhf_iteration" VALUES(2,2,'snapshot','stopped','Cancelled by hand.',0,'{"judgments": 60, "reward_accuracy": 0.68, "kl": 4.2, "score": 0.3, "tasks": 16}','2026-11-29 03:00:05.599926',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "rlhf_iteration" VALUES(3,3,'snapshot','failed','',0,'{"judgments": 60, "reward_accuracy": 0.68, "kl": 4.2, "score": 0.3, "tasks": 16}','2026-11-29 03:00:05.600790',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "rlhf_iteration" VALUES(4,4,'snapshot','active','',0,'{"judgments": 60, "reward_accuracy": 0.68, "kl": 4.2, "score": 0.3, "tasks": 16}','2026-11-29 03:00:05.601405',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "rlhf_iteration" VALUES(5,104,'snapshot','stopped','',0,'{}','2026-11-29 03:00:06.136816',NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "rlhf_iteration" VALUES(6,105,'snapshot','stopped','',0,'{}','2026-11-29 03:00:06.302417',NULL,1,NULL,NULL,NULL,NULL);
CREATE TABLE "rlhf_looppolicy" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "enabled" bool NOT NULL, "judgments_per_round" integer unsigned NOT NULL CHECK ("judgments_per_round" >= 0), "prompts_per_round" integer unsigned NOT NULL CHECK ("prompts_per_round" >= 0), "gates" text NOT NULL CHECK ((JSON_VALID("gates") OR "gates" IS NULL)), "sampling" text NOT NULL CHECK ((JSON_VALID("sampling") OR "sampling" IS NULL)), "reward_config" text NOT NULL CHECK ((JSON_VALID("reward_config") OR "reward_config" IS NULL)), "ppo_config" text NOT NULL CHECK ((JSON_VALID("ppo_config") OR "ppo_config" IS NULL)), "project_id" bigint NOT NULL UNIQUE REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, "random_share" real NOT NULL, "tasks_scored" integer unsigned NOT NULL CHECK ("tasks_scored" >= 0), "uncertain_first" bool NOT NULL, CONSTRAINT "loop_policy_random_share_0_to_1" CHECK (("random_share" >= 0.0 AND "random_share" <= 1.0)), CONSTRAINT "loop_policy_counts_above_0" CHECK (("judgments_per_round" >= 1 AND "prompts_per_round" >= 1 AND "tasks_scored" >= 2)));
INSERT INTO "rlhf_looppolicy" VALUES(1,0,200,64,'{}','{"temperature": 0.7}','{"warmup": 0.1, "keep_best": true, "judgments": "majority"}','{"micro_batch_tokens": 4096, "kl_ceiling": 20.0}',1,0.2,300,0);
CREATE TABLE "rlhf_modelversion" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "kind" varchar(10) NOT NULL, "number" integer unsigned NOT NULL CHECK ("number" >= 0), "base_model" varchar(200) NOT NULL, "folder" varchar(300) NOT NULL, "sha256" varchar(64) NOT NULL, "metrics" text NOT NULL CHECK ((JSON_VALID("metrics") OR "metrics" IS NULL)), "active" bool NOT NULL, "promoted_at" datetime NULL, "created_at" datetime NOT NULL, "author_id" bigint NULL UNIQUE REFERENCES "annotate_author" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, "promoted_by_id" bigint NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "model_version_number_once" UNIQUE ("project_id", "kind", "number"), CONSTRAINT "model_version_has_weights" CHECK ((NOT ("folder" = '') OR NOT ("base_model" = ''))));
INSERT INTO "rlhf_modelversion" VALUES(1,'base',1,'tiny','','','{}',0,'2026-11-29 03:00:04.231734','2026-11-29 03:00:04.220958',NULL,1,2);
INSERT INTO "rlhf_modelversion" VALUES(2,'sft',1,'','runs/2/model','','{}',1,'2026-11-29 03:00:04.239406','2026-11-29 03:00:04.224699',NULL,1,2);
INSERT INTO "rlhf_modelversion" VALUES(3,'reward',1,'','runs/1/model','','{"accuracy": 0.71, "loss": 0.61}',0,NULL,'2026-11-29 03:00:04.245443',NULL,1,NULL);
INSERT INTO "rlhf_modelversion" VALUES(4,'reward',4,'','runs/first/model','','{}',0,NULL,'2026-11-29 03:00:06.130725',NULL,1,NULL);
INSERT INTO "rlhf_modelversion" VALUES(5,'reward',5,'','runs/second/model','','{}',0,NULL,'2026-11-29 03:00:06.297857',NULL,1,NULL);
CREATE TABLE "rlhf_modelversion_parents" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "from_modelversion_id" bigint NOT NULL REFERENCES "rlhf_modelversion" ("id") DEFERRABLE INITIALLY DEFERRED, "to_modelversion_id" bigint NOT NULL REFERENCES "rlhf_modelversion" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "rlhf_promotion" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "verb" varchar(9) NOT NULL, "created_at" datetime NOT NULL, "by_id" bigint NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "replaced_id" bigint NULL REFERENCES "rlhf_modelversion" ("id") DEFERRABLE INITIALLY DEFERRED, "version_id" bigint NOT NULL REFERENCES "rlhf_modelversion" ("id") DEFERRABLE INITIALLY DEFERRED);
INSERT INTO "rlhf_promotion" VALUES(1,'promote','2026-11-29 03:00:04.232282',2,NULL,1);
INSERT INTO "rlhf_promotion" VALUES(2,'promote','2026-11-29 03:00:04.239691',2,1,2);
CREATE TABLE "rlhf_runinput" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "role" varchar(9) NOT NULL, "version_id" bigint NOT NULL REFERENCES "rlhf_modelversion" ("id") DEFERRABLE INITIALLY DEFERRED, "run_id" bigint NOT NULL REFERENCES "rlhf_trainingrun" ("id") DEFERRABLE INITIALLY DEFERRED);
INSERT INTO "rlhf_runinput" VALUES(1,'model',1,1);
INSERT INTO "rlhf_runinput" VALUES(2,'model',1,2);
INSERT INTO "rlhf_runinput" VALUES(3,'model',1,3);
INSERT INTO "rlhf_runinput" VALUES(4,'model',1,4);
INSERT INTO "rlhf_runinput" VALUES(5,'model',1,5);
INSERT INTO "rlhf_runinput" VALUES(6,'model',1,6);
CREATE TABLE "rlhf_runmetric" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "step" integer unsigned NOT NULL CHECK ("step" >= 0), "name" varchar(60) NOT NULL, "value" real NOT NULL, "run_id" bigint NOT NULL REFERENCES "rlhf_trainingrun" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "run_metric_once" UNIQUE ("run_id", "name", "step"));
INSERT INTO "rlhf_runmetric" VALUES(1,1,'loss',1.0,1);
INSERT INTO "rlhf_runmetric" VALUES(2,1,'accuracy',0.0,1);
INSERT INTO "rlhf_runmetric" VALUES(3,2,'loss',0.5,1);
INSERT INTO "rlhf_runmetric" VALUES(4,2,'accuracy',0.5,1);
INSERT INTO "rlhf_runmetric" VALUES(5,3,'loss',3.33333333333333314829e-01,1);
INSERT INTO "rlhf_runmetric" VALUES(6,3,'accuracy',6.66666666666666740681e-01,1);
INSERT INTO "rlhf_runmetric" VALUES(7,4,'loss',0.25,1);
INSERT INTO "rlhf_runmetric" VALUES(8,4,'accuracy',0.75,1);
INSERT INTO "rlhf_runmetric" VALUES(9,5,'loss',0.2,1);
INSERT INTO "rlhf_runmetric" VALUES(10,5,'accuracy',0.8,1);
INSERT INTO "rlhf_runmetric" VALUES(11,6,'loss',1.66666666666666657414e-01,1);
INSERT INTO "rlhf_runmetric" VALUES(12,6,'accuracy',8.3333333333333337034e-01,1);
INSERT INTO "rlhf_runmetric" VALUES(13,7,'loss',1.42857142857142849212e-01,1);
INSERT INTO "rlhf_runmetric" VALUES(14,7,'accuracy',8.57142857142857206298e-01,1);
INSERT INTO "rlhf_runmetric" VALUES(15,8,'loss',0.125,1);
INSERT INTO "rlhf_runmetric" VALUES(16,8,'accuracy',0.875,1);
INSERT INTO "rlhf_runmetric" VALUES(17,9,'loss',1.11111111111111104943e-01,1);
INSERT INTO "rlhf_runmetric" VALUES(18,9,'accuracy',8.88888888888888839545e-01,1);
INSERT INTO "rlhf_runmetric" VALUES(19,10,'loss',0.1,1);
INSERT INTO "rlhf_runmetric" VALUES(20,10,'accuracy',0.9,1);
INSERT INTO "rlhf_runmetric" VALUES(21,1,'divergence_loss',0.25,7);
CREATE TABLE "rlhf_taskchoice" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "disagreement" real NOT NULL, "place" integer unsigned NOT NULL CHECK ("place" >= 0), "run_id" bigint NOT NULL REFERENCES "rlhf_trainingrun" ("id") DEFERRABLE INITIALLY DEFERRED, "task_id" bigint NOT NULL UNIQUE REFERENCES "annotate_task" ("id") DEFERRABLE INITIALLY DEFERRED);
INSERT INTO "rlhf_taskchoice" VALUES(1,0.5,1,9,1);
CREATE TABLE "rlhf_trainingrun" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "stage" varchar(10) NOT NULL, "config" text NOT NULL CHECK ((JSON_VALID("config") OR "config" IS NULL)), "options" text NOT NULL CHECK ((JSON_VALID("options") OR "options" IS NULL)), "seed" bigint unsigned NOT NULL CHECK ("seed" >= 0), "queue" varchar(20) NOT NULL, "status" varchar(9) NOT NULL, "attempt" smallint unsigned NOT NULL CHECK ("attempt" >= 0), "max_attempts" smallint unsigned NOT NULL CHECK ("max_attempts" >= 0), "cancel_requested_at" datetime NULL, "lease_token" char(32) NULL, "lease_until" datetime NULL, "heartbeat_at" datetime NULL, "worker" varchar(200) NOT NULL, "process_group" integer unsigned NULL CHECK ("process_group" >= 0), "progress" real NOT NULL, "activity" varchar(200) NOT NULL, "error" text NOT NULL, "log" text NOT NULL, "result" text NOT NULL CHECK ((JSON_VALID("result") OR "result" IS NULL)), "folder" varchar(300) NOT NULL, "created_at" datetime NOT NULL, "queued_at" datetime NOT NULL, "started_at" datetime NULL, "finished_at" datetime NULL, "created_by_id" bigint NULL REFERENCES "annotate_user" ("id") DEFERRABLE INITIALLY DEFERRED, "iteration_id" bigint NULL REFERENCES "rlhf_iteration" ("id") DEFERRABLE INITIALLY DEFERRED, "produced_id" bigint NULL UNIQUE REFERENCES "rlhf_modelversion" ("id") DEFERRABLE INITIALLY DEFERRED, "project_id" bigint NOT NULL REFERENCES "annotate_project" ("id") DEFERRABLE INITIALLY DEFERRED, "snapshot_id" bigint NULL REFERENCES "annotate_snapshot" ("id") DEFERRABLE INITIALLY DEFERRED, CONSTRAINT "training_run_running_has_lease" CHECK ((NOT ("status" = 'running') OR ("lease_token" IS NOT NULL AND "lease_until" IS NOT NULL))), CONSTRAINT "training_run_progress_0_to_1" CHECK (("progress" >= 0.0 AND "progress" <= 1.0)));
INSERT INTO "rlhf_trainingrun" VALUES(1,'reward','{"epochs": 2}','{}',0,'cpu','queued',0,3,NULL,NULL,NULL,NULL,'',NULL,0.0,'','','step 1
step 2
','{}','runs/7','2026-11-29 03:00:04.249082','2026-11-29 03:00:04.249111',NULL,NULL,2,NULL,NULL,1,NULL);
INSERT INTO "rlhf_trainingrun" VALUES(2,'reward','{"epochs": 2}','{}',0,'cpu','running',0,3,NULL,'00000000000000000000000000000000','2026-11-29 03:00:04.450179',NULL,'',NULL,0.42,'learning from judgments','','step 1
step 2
','{}','runs/7','2026-11-29 03:00:04.450647','2026-11-29 03:00:04.450656',NULL,NULL,2,NULL,NULL,1,NULL);
INSERT INTO "rlhf_trainingrun" VALUES(3,'reward','{"epochs": 2}','{}',0,'cpu','succeeded',0,3,NULL,NULL,NULL,NULL,'',NULL,0.0,'','','step 1
step 2
','{"accuracy": 0.71, "notes": ["Two rows were cut."]}','runs/7','2026-11-29 03:00:04.660959','2026-11-29 03:00:04.660998',NULL,NULL,2,NULL,3,1,NULL);
INSERT INTO "rlhf_trainingrun" VALUES(4,'reward','{"epochs": 2}','{}',0,'cpu','failed',0,3,NULL,NULL,NULL,NULL,'',NULL,0.0,'','Memory ran out.','step 1
step 2
','{}','runs/7','2026-11-29 03:00:05.256795','2026-11-29 03:00:05.256830',NULL,NULL,2,NULL,NULL,1,NULL);
INSERT INTO "rlhf_trainingrun" VALUES(5,'reward','{"epochs": 2}','{}',0,'cpu','cancelled',0,3,NULL,NULL,NULL,NULL,'',NULL,0.0,'','','step 1
step 2
','{}','runs/7','2026-11-29 03:00:05.472863','2026-11-29 03:00:05.472907',NULL,NULL,2,NULL,NULL,1,NULL);
INSERT INTO "rlhf_trainingrun" VALUES(6,'reward','{"epochs": 2}','{}',0,'cpu','lost',0,3,NULL,NULL,NULL,NULL,'',NULL,0.0,'','','step 1
step 2
','{}','runs/7','2026-11-29 03:00:05.566556','2026-11-29 03:00:05.566599',NULL,NULL,2,NULL,NULL,1,NULL);
INSERT INTO "rlhf_trainingrun" VALUES(7,'ppo','{"kl_ceiling": 20.0, "micro_batch_tokens": 4096, "judge_tries": 3}','{}',0,'cpu','succeeded',0,3,NULL,NULL,NULL,NULL,'',NULL,0.0,'','','','{"score": 1.2, "divergence_loss": 0.25, "stopped_by": "kl_ceiling", "best_step": 10}','','2026-11-29 03:00:05.589969','2026-11-29 03:00:05.590009',NULL,NULL,NULL,NULL,NULL,1,NULL);
INSERT INTO "rlhf_trainingrun" VALUES(8,'reward','{}','{}',0,'cpu','queued',0,3,NULL,NULL,NULL,NULL,'',NULL,0.0,'','first error','first log','{}','runs/first','2026-11-29 03:00:06.137803','2026-11-29 03:00:06.137820',NULL,NULL,NULL,NULL,NULL,1,NULL);
INSERT INTO "rlhf_trainingrun" VALUES(9,'reward','{}','{}',0,'cpu','queued',0,3,NULL,NULL,NULL,NULL,'',NULL,0.0,'','second error','second log','{}','runs/second','2026-11-29 03:00:06.310593','2026-11-29 03:00:06.310676',NULL,NULL,NULL,NULL,NULL,1,NULL);
CREATE TABLE "rlhf_workerheartbeat" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "name" varchar(200) NOT NULL UNIQUE, "queues" text NOT NULL CHECK ((JSON_VALID("queues") OR "queues" IS NULL)), "host" varchar(200) NOT NULL, "process_id" integer unsigned NULL CHECK ("process_id" >= 0), "seen_at" datetime NOT NULL, "capacity" text NOT NULL CHECK ((JSON_VALID("capacity") OR "capacity" IS NULL)));
CREATE UNIQUE INDEX "django_content_type_app_label_model_76bd3d3b_uniq" ON "django_content_type" ("app_label", "model");
CREATE UNIQUE INDEX "auth_group_permissions_group_id_permission_id_0cd325b0_uniq" ON "auth_group_permissions" ("group_id", "permission_id");
CREATE INDEX "auth_group_permissions_group_id_b120cbf9" ON "auth_group_permissions" ("group_id");
CREATE INDEX "auth_group_permissions_permission_id_84c5c92e" ON "auth_group_permissions" ("permission_id");
CREATE UNIQUE INDEX "auth_permission_content_type_id_codename_01ab375a_uniq" ON "auth_permission" ("content_type_id", "codename");
CREATE INDEX "auth_permission_content_type_id_2f476e4b" ON "auth_permission" ("content_type_id");
CREATE UNIQUE INDEX "annotate_user_groups_user_id_group_id_111a1ed0_uniq" ON "annotate_user_groups" ("user_id", "group_id");
CREATE INDEX "annotate_user_groups_user_id_e7edc359" ON "annotate_user_groups" ("user_id");
CREATE INDEX "annotate_user_groups_group_id_0fdaad79" ON "annotate_user_groups" ("group_id");
CREATE UNIQUE INDEX "annotate_user_user_permissions_user_id_permission_id_6912adfe_uniq" ON "annotate_user_user_permissions" ("user_id", "permission_id");
CREATE INDEX "annotate_user_user_permissions_user_id_2e0f6297" ON "annotate_user_user_permissions" ("user_id");
CREATE INDEX "annotate_user_user_permissions_permission_id_6e03d81b" ON "annotate_user_user_permissions" ("permission_id");
CREATE INDEX "annotate_auditevent_actor_id_3ee4436d" ON "annotate_auditevent" ("actor_id");
CREATE INDEX "annotate_auditevent_project_id_ef8d08d8" ON "annotate_auditevent" ("project_id");
CREATE INDEX "annotate_response_author_id_d9e44ad2" ON "annotate_response" ("author_id");
CREATE INDEX "annotate_response_edited_from_id_25349108" ON "annotate_response" ("edited_from_id");
CREATE INDEX "annotate_response_prompt_id_ae3200b4" ON "annotate_response" ("prompt_id");
CREATE INDEX "annotate_judgment_labeler_id_986a9b12" ON "annotate_judgment" ("labeler_id");
CREATE INDEX "annotate_judgment_project_id_66c86584" ON "annotate_judgment" ("project_id");
CREATE INDEX "annotate_judgment_task_id_9a994ab7" ON "annotate_judgment" ("task_id");
CREATE INDEX "annotate_membership_user_id_e9b526f1" ON "annotate_membership" ("user_id");
CREATE INDEX "annotate_membership_project_id_bbece2ea" ON "annotate_membership" ("project_id");
CREATE INDEX "membership_project_role" ON "annotate_membership" ("project_id", "role");
CREATE INDEX "annotate_guidelines_created_by_id_af6abbcb" ON "annotate_guidelines" ("created_by_id");
CREATE INDEX "annotate_guidelines_project_id_f6e57239" ON "annotate_guidelines" ("project_id");
CREATE INDEX "audit_project" ON "annotate_auditevent" ("project_id", "id" DESC);
CREATE INDEX "audit_subject" ON "annotate_auditevent" ("subject_type", "subject_id");
CREATE INDEX "annotate_prompt_author_id_7d8800bb" ON "annotate_prompt" ("author_id");
CREATE INDEX "annotate_prompt_project_id_2b8d49c8" ON "annotate_prompt" ("project_id");
CREATE INDEX "prompt_project_split" ON "annotate_prompt" ("project_id", "split");
CREATE INDEX "annotate_answerrequest_requested_by_id_1ec32db9" ON "annotate_answerrequest" ("requested_by_id");
CREATE INDEX "annotate_answerrequest_project_id_eb9fe798" ON "annotate_answerrequest" ("project_id");
CREATE INDEX "annotate_answerrequest_prompt_id_f9ae8bd7" ON "annotate_answerrequest" ("prompt_id");
CREATE INDEX "answer_request_open" ON "annotate_answerrequest" ("project_id", "id") WHERE "state" = 'open';
CREATE UNIQUE INDEX "answer_request_open_once" ON "annotate_answerrequest" ("prompt_id", "purpose") WHERE "state" IN ('open', 'claimed');
CREATE INDEX "annotate_rubric_created_by_id_8a60f176" ON "annotate_rubric" ("created_by_id");
CREATE INDEX "annotate_rubric_project_id_468bdd61" ON "annotate_rubric" ("project_id");
CREATE INDEX "annotate_snapshot_created_by_id_7fd8c784" ON "annotate_snapshot" ("created_by_id");
CREATE INDEX "annotate_snapshot_project_id_6234632d" ON "annotate_snapshot" ("project_id");
CREATE INDEX "snapshot_project" ON "annotate_snapshot" ("project_id", "id" DESC);
CREATE INDEX "judgment_project_time" ON "annotate_judgment" ("project_id", "created_at");
CREATE INDEX "judgment_labeler_time" ON "annotate_judgment" ("labeler_id", "project_id", "created_at");
CREATE INDEX "annotate_taskresponse_response_id_57f01b06" ON "annotate_taskresponse" ("response_id");
CREATE INDEX "annotate_taskresponse_task_id_ee1baacd" ON "annotate_taskresponse" ("task_id");
CREATE INDEX "account_emailconfirmation_email_address_id_5b7f8c58" ON "account_emailconfirmation" ("email_address_id");
CREATE UNIQUE INDEX "account_emailaddress_user_id_email_987c8728_uniq" ON "account_emailaddress" ("user_id", "email");
CREATE UNIQUE INDEX "unique_verified_email" ON "account_emailaddress" ("email") WHERE "verified";
CREATE INDEX "account_emailaddress_user_id_2c513194" ON "account_emailaddress" ("user_id");
CREATE INDEX "account_emailaddress_email_03be32b2" ON "account_emailaddress" ("email");
CREATE UNIQUE INDEX "unique_primary_email" ON "account_emailaddress" ("user_id", "primary") WHERE "primary";
CREATE INDEX "django_admin_log_content_type_id_c4bce8eb" ON "django_admin_log" ("content_type_id");
CREATE INDEX "django_admin_log_user_id_c564eba6" ON "django_admin_log" ("user_id");
CREATE UNIQUE INDEX "assignment_one_current" ON "annotate_assignment" ("labeler_id", "project_id") WHERE "state" = 'current';
CREATE UNIQUE INDEX "assignment_one_ahead" ON "annotate_assignment" ("labeler_id", "project_id") WHERE "state" = 'ahead';
CREATE INDEX "annotate_assignment_labeler_id_f1c36a6d" ON "annotate_assignment" ("labeler_id");
CREATE INDEX "annotate_assignment_project_id_8d508500" ON "annotate_assignment" ("project_id");
CREATE INDEX "annotate_assignment_task_id_edeea3df" ON "annotate_assignment" ("task_id");
CREATE INDEX "assignment_held_lease" ON "annotate_assignment" ("lease_until") WHERE "state" IN ('current', 'ahead');
CREATE INDEX "assignment_history" ON "annotate_assignment" ("labeler_id", "project_id", "ended_at" DESC);
CREATE INDEX "annotate_judgmentrevision_judgment_id_8f750cd5" ON "annotate_judgmentrevision" ("judgment_id");
CREATE INDEX "annotate_judgmentrevision_rubric_id_cc772a97" ON "annotate_judgmentrevision" ("rubric_id");
CREATE INDEX "annotate_demonstration_prompt_id_a6d0e1dc" ON "annotate_demonstration" ("prompt_id");
CREATE INDEX "annotate_demonstration_assignment_id_934af74d" ON "annotate_demonstration" ("assignment_id");
CREATE INDEX "demonstration_prompt" ON "annotate_demonstration" ("prompt_id");
CREATE INDEX "annotate_judgmentreturn_judgment_id_ec99ad81" ON "annotate_judgmentreturn" ("judgment_id");
CREATE INDEX "annotate_judgmentreturn_reviewer_id_e5d286ff" ON "annotate_judgmentreturn" ("reviewer_id");
CREATE INDEX "annotate_judgmentreturn_revision_id_b96e6602" ON "annotate_judgmentreturn" ("revision_id");
CREATE INDEX "annotate_report_assignment_id_b9e08c79" ON "annotate_report" ("assignment_id");
CREATE INDEX "annotate_report_project_id_0dc869ab" ON "annotate_report" ("project_id");
CREATE INDEX "annotate_report_resolved_by_id_48cee641" ON "annotate_report" ("resolved_by_id");
CREATE INDEX "report_open" ON "annotate_report" ("project_id", "id" DESC) WHERE "resolved_at" IS NULL;
CREATE UNIQUE INDEX "annotate_answerrequest_responses_answerrequest_id_response_id_cc71efcf_uniq" ON "annotate_answerrequest_responses" ("answerrequest_id", "response_id");
CREATE INDEX "annotate_answerrequest_responses_answerrequest_id_b7d32e1b" ON "annotate_answerrequest_responses" ("answerrequest_id");
CREATE INDEX "annotate_answerrequest_responses_response_id_45e682f8" ON "annotate_answerrequest_responses" ("response_id");
CREATE INDEX "annotate_prompt_opening_id_b817ec71" ON "annotate_prompt" ("opening_id");
CREATE INDEX "annotate_task_project_id_ce6b396b" ON "annotate_task" ("project_id");
CREATE INDEX "annotate_task_prompt_id_6ab08a42" ON "annotate_task" ("prompt_id");
CREATE INDEX "task_queue" ON "annotate_task" ("project_id", "position") WHERE ("slots_free" > 0 AND "state" = 'open');
CREATE INDEX "task_project_state" ON "annotate_task" ("project_id", "state");
CREATE UNIQUE INDEX "exam_attempt_once" ON "annotate_examattempt" ("project_id", "labeler_id", "number") WHERE NOT "annulled";
CREATE UNIQUE INDEX "exam_attempt_one_open" ON "annotate_examattempt" ("project_id", "labeler_id") WHERE (NOT "annulled" AND "finished_at" IS NULL);
CREATE INDEX "annotate_examattempt_labeler_id_b9753460" ON "annotate_examattempt" ("labeler_id");
CREATE INDEX "annotate_examattempt_project_id_b02e1c04" ON "annotate_examattempt" ("project_id");
CREATE INDEX "annotate_examattempt_waived_by_id_1bce98fa" ON "annotate_examattempt" ("waived_by_id");
CREATE INDEX "annotate_chatturn_assignment_id_ba577178" ON "annotate_chatturn" ("assignment_id");
CREATE INDEX "annotate_chatturn_request_id_85a792cf" ON "annotate_chatturn" ("request_id");
CREATE INDEX "annotate_chatturn_response_id_509f7f4b" ON "annotate_chatturn" ("response_id");
CREATE INDEX "annotate_examanswer_task_id_054f8312" ON "annotate_examanswer" ("task_id");
CREATE INDEX "annotate_examanswer_attempt_id_c5c6190f" ON "annotate_examanswer" ("attempt_id");
CREATE INDEX "annotate_user_created_by_id_10f41e6d" ON "annotate_user" ("created_by_id");
CREATE INDEX "annotate_invitation_accepted_by_id_8f29c2ee" ON "annotate_invitation" ("accepted_by_id");
CREATE INDEX "annotate_invitation_created_by_id_a893fb9d" ON "annotate_invitation" ("created_by_id");
CREATE INDEX "annotate_invitation_project_id_13470cad" ON "annotate_invitation" ("project_id");
CREATE INDEX "invitation_open" ON "annotate_invitation" ("project_id", "id" DESC) WHERE ("accepted_at" IS NULL AND "withdrawn_at" IS NULL);
CREATE INDEX "annotate_queuecursor_labeler_id_d1a3dd9c" ON "annotate_queuecursor" ("labeler_id");
CREATE INDEX "annotate_queuecursor_project_id_7b5aa730" ON "annotate_queuecursor" ("project_id");
CREATE INDEX "annotate_judgmentacceptance_judgment_id_2f7196a5" ON "annotate_judgmentacceptance" ("judgment_id");
CREATE INDEX "annotate_judgmentacceptance_reviewer_id_5e706877" ON "annotate_judgmentacceptance" ("reviewer_id");
CREATE INDEX "demonstration_data_import" ON "annotate_demonstration" ("data_import") WHERE "data_import" IS NOT NULL;
CREATE INDEX "judgment_data_import" ON "annotate_judgment" ("data_import") WHERE "data_import" IS NOT NULL;
CREATE INDEX "prompt_data_import" ON "annotate_prompt" ("data_import") WHERE "data_import" IS NOT NULL;
CREATE INDEX "response_data_import" ON "annotate_response" ("data_import") WHERE "data_import" IS NOT NULL;
CREATE INDEX "task_data_import" ON "annotate_task" ("data_import") WHERE "data_import" IS NOT NULL;
CREATE INDEX "annotate_dataimport_created_by_id_05f0851b" ON "annotate_dataimport" ("created_by_id");
CREATE INDEX "annotate_dataimport_project_id_6adfa4e1" ON "annotate_dataimport" ("project_id");
CREATE INDEX "data_import_project" ON "annotate_dataimport" ("project_id", "id" DESC);
CREATE INDEX "data_import_open" ON "annotate_dataimport" ("state") WHERE "state" IN ('writing', 'removing');
CREATE UNIQUE INDEX "author_name_once" ON "annotate_author" ("kind", "name") WHERE "user_id" IS NULL;
CREATE UNIQUE INDEX "data_import_one_at_a_time" ON "annotate_dataimport" ("project_id") WHERE "state" IN ('writing', 'removing', 'applying');
CREATE INDEX "annotate_promptchange_data_import_id_1382c925" ON "annotate_promptchange" ("data_import_id");
CREATE INDEX "annotate_promptchange_prompt_id_7500f220" ON "annotate_promptchange" ("prompt_id");
CREATE INDEX "config_ratebucket_drained_at_e918f1f7" ON "config_ratebucket" ("drained_at");
CREATE UNIQUE INDEX "rlhf_modelversion_parents_from_modelversion_id_to_modelversion_id_7a621e1e_uniq" ON "rlhf_modelversion_parents" ("from_modelversion_id", "to_modelversion_id");
CREATE INDEX "rlhf_modelversion_parents_from_modelversion_id_4cd165d0" ON "rlhf_modelversion_parents" ("from_modelversion_id");
CREATE INDEX "rlhf_modelversion_parents_to_modelversion_id_98e03008" ON "rlhf_modelversion_parents" ("to_modelversion_id");
CREATE UNIQUE INDEX "model_version_one_active_reward" ON "rlhf_modelversion" ("project_id") WHERE ("active" AND "kind" = 'reward');
CREATE UNIQUE INDEX "model_version_one_active_policy" ON "rlhf_modelversion" ("project_id") WHERE ("active" AND NOT ("kind" = 'reward'));
CREATE INDEX "rlhf_modelversion_project_id_35ad6d56" ON "rlhf_modelversion" ("project_id");
CREATE INDEX "rlhf_modelversion_promoted_by_id_04d98f3c" ON "rlhf_modelversion" ("promoted_by_id");
CREATE INDEX "rlhf_iteration_project_id_ea35479e" ON "rlhf_iteration" ("project_id");
CREATE INDEX "rlhf_iteration_snapshot_id_28c13cd9" ON "rlhf_iteration" ("snapshot_id");
CREATE INDEX "rlhf_iteration_started_by_id_3d816f13" ON "rlhf_iteration" ("started_by_id");
CREATE INDEX "rlhf_iteration_policy_version_id_757ed679" ON "rlhf_iteration" ("policy_version_id");
CREATE INDEX "rlhf_iteration_reward_version_id_c59a50d3" ON "rlhf_iteration" ("reward_version_id");
CREATE UNIQUE INDEX "iteration_one_active" ON "rlhf_iteration" ("project_id") WHERE "state" = 'active';
CREATE INDEX "rlhf_trainingrun_created_by_id_38289e6f" ON "rlhf_trainingrun" ("created_by_id");
CREATE INDEX "rlhf_trainingrun_iteration_id_90f13036" ON "rlhf_trainingrun" ("iteration_id");
CREATE INDEX "rlhf_trainingrun_project_id_40fc4ba3" ON "rlhf_trainingrun" ("project_id");
CREATE INDEX "rlhf_trainingrun_snapshot_id_14b23f15" ON "rlhf_trainingrun" ("snapshot_id");
CREATE INDEX "training_run_project" ON "rlhf_trainingrun" ("project_id", "id" DESC);
CREATE INDEX "training_run_queued" ON "rlhf_trainingrun" ("queue", "queued_at") WHERE "status" = 'queued';
CREATE INDEX "training_run_lease" ON "rlhf_trainingrun" ("lease_until") WHERE "status" = 'running';
CREATE INDEX "rlhf_runmetric_run_id_f4c1c8b9" ON "rlhf_runmetric" ("run_id");
CREATE INDEX "rlhf_taskchoice_run_id_057198cf" ON "rlhf_taskchoice" ("run_id");
CREATE INDEX "rlhf_runinput_version_id_066da0e4" ON "rlhf_runinput" ("version_id");
CREATE INDEX "rlhf_runinput_run_id_8ea59728" ON "rlhf_runinput" ("run_id");
CREATE UNIQUE INDEX "run_input_role_once" ON "rlhf_runinput" ("run_id", "role") WHERE NOT ("role" = 'beside');
CREATE UNIQUE INDEX "run_input_beside_once" ON "rlhf_runinput" ("run_id", "version_id") WHERE "role" = 'beside';
CREATE INDEX "rlhf_promotion_by_id_f55bb9c3" ON "rlhf_promotion" ("by_id");
CREATE INDEX "rlhf_promotion_replaced_id_e6ce7aee" ON "rlhf_promotion" ("replaced_id");
CREATE INDEX "rlhf_promotion_version_id_6946448d" ON "rlhf_promotion" ("version_id");
CREATE INDEX "django_session_expire_date_a5c62663" ON "django_session" ("expire_date");
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('django_migrations',51);
INSERT INTO "sqlite_sequence" VALUES('django_content_type',44);
INSERT INTO "sqlite_sequence" VALUES('auth_permission',176);
INSERT INTO "sqlite_sequence" VALUES('auth_group',0);
INSERT INTO "sqlite_sequence" VALUES('annotate_judgment',6);
INSERT INTO "sqlite_sequence" VALUES('annotate_membership',38);
INSERT INTO "sqlite_sequence" VALUES('annotate_guidelines',14);
INSERT INTO "sqlite_sequence" VALUES('annotate_prompt',29);
INSERT INTO "sqlite_sequence" VALUES('annotate_answerrequest',2);
INSERT INTO "sqlite_sequence" VALUES('annotate_rubric',13);
INSERT INTO "sqlite_sequence" VALUES('annotate_snapshot',6);
INSERT INTO "sqlite_sequence" VALUES('annotate_taskresponse',68);
INSERT INTO "sqlite_sequence" VALUES('account_emailaddress',0);
INSERT INTO "sqlite_sequence" VALUES('django_admin_log',0);
INSERT INTO "sqlite_sequence" VALUES('annotate_assignment',20);
INSERT INTO "sqlite_sequence" VALUES('annotate_judgmentrevision',6);
INSERT INTO "sqlite_sequence" VALUES('annotate_demonstration',0);
INSERT INTO "sqlite_sequence" VALUES('annotate_task',32);
INSERT INTO "sqlite_sequence" VALUES('annotate_chatturn',0);
INSERT INTO "sqlite_sequence" VALUES('annotate_examanswer',2);
INSERT INTO "sqlite_sequence" VALUES('annotate_user',7);
INSERT INTO "sqlite_sequence" VALUES('annotate_queuecursor',2);
INSERT INTO "sqlite_sequence" VALUES('annotate_project',12);
INSERT INTO "sqlite_sequence" VALUES('annotate_dataimport',0);
INSERT INTO "sqlite_sequence" VALUES('annotate_author',1);
INSERT INTO "sqlite_sequence" VALUES('annotate_promptchange',0);
INSERT INTO "sqlite_sequence" VALUES('rlhf_modelversion',5);
INSERT INTO "sqlite_sequence" VALUES('rlhf_iteration',6);
INSERT INTO "sqlite_sequence" VALUES('rlhf_trainingrun',9);
INSERT INTO "sqlite_sequence" VALUES('rlhf_runmetric',420);
INSERT INTO "sqlite_sequence" VALUES('rlhf_taskchoice',1);
INSERT INTO "sqlite_sequence" VALUES('rlhf_runinput',6);
INSERT INTO "sqlite_sequence" VALUES('rlhf_workerheartbeat',0);
INSERT INTO "sqlite_sequence" VALUES('rlhf_looppolicy',1);
INSERT INTO "sqlite_sequence" VALUES('rlhf_promotion',2);
INSERT INTO "sqlite_sequence" VALUES('annotate_auditevent',19);
INSERT INTO "sqlite_sequence" VALUES('annotate_invitation',3);
INSERT INTO "sqlite_sequence" VALUES('annotate_response',72);
INSERT INTO "sqlite_sequence" VALUES('annotate_judgmentreturn',1);
INSERT INTO "sqlite_sequence" VALUES('annotate_report',3);
INSERT INTO "sqlite_sequence" VALUES('annotate_examattempt',2);
INSERT INTO "sqlite_sequence" VALUES('annotate_answerrequest_responses',4);
COMMIT;
